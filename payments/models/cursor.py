"""The row that says where an interrupted command continues."""

import datetime

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

KEPT_FOR = datetime.timedelta(days=7)  # an older run has to begin again, because what it saw may have changed


class CursorManager(models.Manager["Cursor"]):
    def resume(self, run: str, *, restart: bool) -> "Cursor":
        """Return the cursor of the interrupted run with this name, or a new one that isn't stored yet.

        With `restart`, or if the run was interrupted longer ago than KEPT_FOR, the stored cursor is deleted.
        """
        stored = self.filter(run=run)
        if not restart and (found := stored.filter(updated_at__gte=timezone.now() - KEPT_FOR).first()):
            return found
        stored.delete()
        return Cursor(run=run)


class Cursor(models.Model):
    """How far a command has come through the rows of a table, and what it has counted so far.

    The command takes the rows in the order of their keys; `position` is the key of the last one that it has dealt with.
    The cursor is deleted when the run is complete. That of payouts is kept: its `position` is the Unix time until which
    all payouts are copied.
    """

    run = models.CharField(_("run"), max_length=40, unique=True)
    position = models.PositiveBigIntegerField(_("position"), default=0)
    counts = models.JSONField(_("counts"), default=dict, blank=True)
    updated_at = models.DateTimeField(_("updated"), auto_now=True)

    objects = CursorManager()

    class Meta:
        verbose_name = _("cursor")
        verbose_name_plural = _("cursors")

    def __str__(self) -> str:
        return f"{self.run} {self.position}"
