"""Closings: what the till took on one day, what was counted, numbered and sealed.

Sealed closings form a chain: each holds the hash of the one before, and ClosingHead has the number and hash of the last
one. So a changed, inserted or deleted closing is noticed, also if it was the last one. A closing is never changed; a
correction is a further closing that refers to the first one.

Which movements belong to a closing: an entry at the desk has a foreign key to its closing, and is open as long as it
has none. Neither its key nor its time could decide that, because transactions don't commit in the order in which they
begin: an entry that is recorded while the till is being closed may be older than the closing, and still not be in it.
Entries and closings take one lock (`linking.lock_till`), and the foreign key is set once, by the transaction that
seals.
"""

import datetime
import hashlib
import json
import time
from collections.abc import Callable
from typing import Any, NoReturn

from django.conf import settings
from django.contrib.auth.models import AbstractUser
from django.db import connection, models
from django.utils.translation import gettext_lazy as _

FORMULA = 1  # of the hash of new closings


class SealedError(Exception):
    """Raised when code tries to change or delete a sealed closing."""


class ClosingQuerySet(models.QuerySet["Closing"]):
    def of_days(self) -> "ClosingQuerySet":
        """Return the closings that closed a day, without those that correct one."""
        return self.filter(corrects=None)

    def with_head(self) -> "models.QuerySet[Any]":
        """Return these closings, each with the number of the last one of all, as `head`."""
        return self.annotate(head=models.Subquery(ClosingHead.objects.values("number")[:1]))

    def seal(
        self, *, day: datetime.date, content: dict[str, Any], sealed_by: AbstractUser, corrects: "Closing | None" = None
    ) -> "Closing":
        """Store a closing with the next number and a hash that continues the chain, and return it.

        Call it inside a transaction: the head's row stays locked until the transaction ends, so that numbers have no
        holes, also after a rollback.
        """
        head = ClosingHead.objects.select_for_update().get()
        closing = Closing(
            number=head.number + 1,
            day=day,
            sealed_at=datetime.datetime.fromtimestamp(int(time.time()), datetime.UTC),
            sealed_by=sealed_by,  # type: ignore[misc]
            corrects=corrects,
            content=content,
            formula=FORMULA,
            previous_hash=head.hash,
        )
        closing.hash = closing.computed_hash
        closing.save(force_insert=True)
        head.number, head.hash = closing.number, closing.hash
        head.save()
        return closing

    def update(self, **changes: Any) -> NoReturn:
        raise SealedError

    def delete(self) -> NoReturn:
        raise SealedError

    update.alters_data = delete.alters_data = True  # type: ignore[attr-defined]


class Closing(models.Model):
    """A sealed closing. `number` counts without holes; `day` is the clinic's day that it closes.

    `content` is what was closed, as JSON (desk/closing_report.py reads it). `corrects` is the closing that this one
    corrects, or None. `formula` says how `hash` is computed, and `previous_hash` is the hash of the closing before.
    """

    number = models.PositiveIntegerField(_("number"), primary_key=True)
    day = models.DateField(_("day"))
    sealed_at = models.DateTimeField(_("sealed"))
    sealed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, related_name="+", verbose_name=_("sealed by")
    )
    corrects = models.ForeignKey(
        "self", models.PROTECT, null=True, blank=True, related_name="corrections", verbose_name=_("corrects")
    )
    content = models.JSONField(_("content"))
    formula = models.PositiveSmallIntegerField(_("formula"))
    previous_hash = models.CharField(_("hash of the closing before"), max_length=64, blank=True)
    hash = models.CharField(_("hash"), max_length=64, unique=True)

    objects = ClosingQuerySet.as_manager()

    class Meta:
        ordering = ("number",)
        verbose_name = _("closing")
        verbose_name_plural = _("closings")
        permissions = (("close_day", "Can close the day"),)
        constraints = (
            models.UniqueConstraint(fields=("day",), condition=models.Q(corrects=None), name="one_closing_per_day"),
        )

    def __str__(self) -> str:
        return str(self.number)

    def save(self, *args: Any, **kwargs: Any) -> None:
        if not self._state.adding:
            raise SealedError
        super().save(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise SealedError

    @property
    def computed_hash(self) -> str:
        """Return the hash that follows from the closing's data. Raises KeyError if the formula is unknown."""
        return hashlib.sha256(FORMULAS[self.formula](self)).hexdigest()


def formula_1(closing: Closing) -> bytes:
    """Return a closing's data as JSON in UTF-8: keys sorted, no spaces, the time in UTC to the second."""
    data = {
        "formula": 1,
        "number": closing.number,
        "day": closing.day.isoformat(),
        "sealed_at": f"{closing.sealed_at.astimezone(datetime.UTC):%Y-%m-%dT%H:%M:%SZ}",
        "sealed_by": closing.sealed_by_id,
        "corrects": closing.corrects_id,
        "content": closing.content,
        "previous": closing.previous_hash,
    }
    return json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


# By the number of the formula. A formula is never changed: if the data changes, add another one, and raise FORMULA.
FORMULAS: dict[int, Callable[[Closing], bytes]] = {1: formula_1}


class ClosingHead(models.Model):
    """The number and hash of the last closing, in a table of its own, so that deleting the last closings is noticed.

    The table has exactly one row; its lock gives closings their numbers one after the other.
    """

    id = models.PositiveSmallIntegerField(primary_key=True, default=1, editable=False)
    number = models.PositiveIntegerField(default=0, editable=False)
    hash = models.CharField(max_length=64, blank=True, editable=False)

    class Meta:
        default_permissions = ()
        constraints = (models.CheckConstraint(condition=models.Q(id=1), name="one_closing_head"),)

    def __str__(self) -> str:
        return str(self.number)


def make_head(**kwargs: Any) -> None:
    """Create the head's row, unless it exists or there are closings, whose lost head must be noticed instead.

    Called after each migration. Do nothing if another app was migrated and this app's tables don't exist yet.
    """
    tables = connection.introspection.table_names()
    if ClosingHead._meta.db_table in tables and Closing._meta.db_table in tables and not Closing.objects.exists():
        ClosingHead.objects.get_or_create(pk=1)
