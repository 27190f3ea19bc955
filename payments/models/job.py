"""What is stored of a background job: which process does it, until when, and how its last rounds went."""

import datetime
from typing import Any

from django.db import models
from django.db.models.functions import Now
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

LEASE = datetime.timedelta(seconds=30)  # after a process dies, another one does its jobs this much later


class BackgroundJobQuerySet(models.QuerySet["BackgroundJob"]):
    def hold(self, name: str, holder: str, **news: Any) -> "BackgroundJob | None":
        """Give the process `holder` the right to do the job for LEASE from now, and store `news` in the job's row.

        Return the row, or None if another process has that right. Times are compared by the database's clock, because
        the clocks of two machines may differ by more than LEASE.
        """
        self.get_or_create(name=name)
        free = models.Q(holder=holder) | models.Q(held_until=None) | models.Q(held_until__lt=Now())
        held = self.filter(free, name=name).update(holder=holder, held_until=Now() + LEASE, **news)
        return self.get(name=name) if held else None

    def release(self, name: str, holder: str, **news: Any) -> None:
        """Let other processes do the job at once, and store `news` in its row, if the process `holder` has the job."""
        self.filter(name=name, holder=holder).update(holder="", held_until=None, **news)

    def forget_rounds(self) -> None:
        """Let all jobs begin again, in any process: a restored backup tells of the rounds before it was made."""
        self.update(
            holder="", held_until=None, begun_at=None, succeeded_at=None, failed_at=None, error="", created_at=Now()
        )


class BackgroundJob(models.Model):
    """A job of `manage.py work`. Only the process `holder` does it; other processes may take it after `held_until`.

    `begun_at` is when the last round began. `error` says why the round that ended at `failed_at` failed.
    """

    name = models.CharField(_("name"), max_length=40, unique=True)
    holder = models.CharField(_("process"), max_length=80, blank=True)
    held_until = models.DateTimeField(_("reserved until"), null=True, blank=True)
    begun_at = models.DateTimeField(_("last begun"), null=True, blank=True)
    succeeded_at = models.DateTimeField(_("last succeeded"), null=True, blank=True)
    failed_at = models.DateTimeField(_("last failed"), null=True, blank=True)
    error = models.CharField(_("last error"), max_length=200, blank=True)
    created_at = models.DateTimeField(_("known since"), default=timezone.now)

    objects = BackgroundJobQuerySet.as_manager()

    class Meta:
        ordering = ("name",)
        verbose_name = _("background job")
        verbose_name_plural = _("background jobs")

    def __str__(self) -> str:
        return self.name

    @property
    def is_failing(self) -> bool:
        """Return whether the last round that ended has failed."""
        return bool(self.failed_at and (self.succeeded_at is None or self.failed_at > self.succeeded_at))
