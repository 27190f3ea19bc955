"""Feeds: numbered lists of payment changes, one for all staff and one for each patient.

Entries are numbered without holes, so that a page can tell which entries it lacks. A number counts only within the
feed's epoch, a random id. Pages of an earlier epoch load their content again. A new epoch begins after a backup was
restored, because numbers are then given a second time, and when a name is corrected, because entries hold no names.
"""

from collections.abc import Iterable
from typing import NamedTuple

from django.db import models, transaction
from django.utils.translation import gettext_lazy as _

from ..db import statements
from .change import StatusChange
from .installation import Installation, new_epoch
from .payment import Payment

STAFF = "staff"


def patient_audience(user_id: int) -> str:
    """Return the audience (the name that stands for a feed's readers) of a patient's own feed: "patient.<id>"."""
    return f"patient.{user_id}"


# One statement creates missing feeds, locks all in the order given, adds 1 to each `head` and returns the feeds.
NEXT = """
INSERT INTO {table} (audience, head, pruned, epoch) VALUES {rows}
ON CONFLICT (audience) DO UPDATE SET head = {table}.head + 1
RETURNING {columns}
"""


ROW = "(%s, 1, 0, (SELECT epoch FROM {installation}))"


class Position(NamedTuple):
    """A place in a feed (numbered list of changes): after the entry with number `seq`, in the feed's epoch `epoch`."""

    epoch: str
    seq: int


class FeedQuerySet(models.QuerySet["Feed"]):
    def append(self, change: StatusChange, audiences: Iterable[str]) -> "list[FeedEntry]":
        """Append an entry about `change` to the feed of each audience ("staff", "patient.<id>"). Return the entries.

        Call this last in a transaction: the feeds stay locked until it ends, so that entries are numbered in the order
        of commits, without holes. The feeds are locked in sorted order, so that two transactions never deadlock.
        """
        names = sorted(set(audiences))
        rows = ", ".join([ROW.format(installation=Installation._meta.db_table)] * len(names))
        sql = NEXT.format(table=Feed._meta.db_table, rows=rows, columns="{columns}")
        feeds: list[Feed] = statements.read(sql, names, Feed)
        entries = [FeedEntry(feed=feed, seq=feed.head, payment=change.payment, change=change) for feed in feeds]
        statements.insert(*entries)
        return entries

    def of(self, audience: str) -> "Feed":
        """Return the audience's feed. If none is stored yet, return a new one, unsaved and without entries."""
        feed = self.filter(audience=audience).first()
        return feed or Feed(audience=audience, epoch=Installation.objects.get().epoch)

    def begin_epoch(self, audiences: Iterable[str] | None = None) -> None:
        """Begin a new epoch of the audiences' feeds, by default of all feeds, so that open pages load again.

        The feeds are locked in the order in which `append` locks them, so that two transactions never deadlock.
        """
        epoch = new_epoch()
        with transaction.atomic():
            feeds = self.all() if audiences is None else self.filter(audience__among=sorted(set(audiences)))
            locked = [feed.pk for feed in feeds.order_by("audience").select_for_update()]
            self.filter(pk__among=locked).update(epoch=epoch)
            if audiences is None:
                Installation.objects.update(epoch=epoch)

    def forget(self, audience: str) -> None:
        """Delete all entries of the audience's feed. Pages that request them are told to load again."""
        FeedEntry.objects.filter(feed__audience=audience).delete()
        self.filter(audience=audience).update(pruned=models.F("head"))


class Feed(models.Model):
    """The feed of one audience, which is "staff" or "patient.<id>".

    `head` is the number of the newest entry; entries up to number `pruned` are deleted.
    """

    audience = models.CharField(max_length=40, unique=True)
    epoch = models.CharField(max_length=16)
    head = models.PositiveBigIntegerField(default=0)
    pruned = models.PositiveBigIntegerField(default=0)

    objects = FeedQuerySet.as_manager()

    class Meta:
        verbose_name = _("feed")
        verbose_name_plural = _("feeds")

    def __str__(self) -> str:
        return self.audience

    @property
    def position(self) -> Position:
        """Return the feed's epoch and the number of its newest entry."""
        return Position(self.epoch, self.head)


class FeedEntry(models.Model):
    """One change of a payment, listed in a feed under the number `seq`."""

    feed = models.ForeignKey(Feed, models.CASCADE, related_name="entries")
    seq = models.PositiveBigIntegerField()
    payment = models.ForeignKey(Payment, models.PROTECT, related_name="+")
    change = models.ForeignKey(StatusChange, models.PROTECT, related_name="entries")
    created_at = models.DateTimeField(auto_now_add=True)
    pushed_at = models.DateTimeField(null=True, blank=True)  # in patients' feeds: when first pushed to an open page
    seen_at = models.DateTimeField(null=True, blank=True)  # in patients' feeds: when first seen by the patient

    class Meta:
        ordering = ("feed", "seq")
        verbose_name = _("feed entry")
        verbose_name_plural = _("feed entries")
        constraints = (
            models.UniqueConstraint(fields=("feed", "seq"), name="one_entry_per_number"),
            models.UniqueConstraint(fields=("feed", "change"), name="one_entry_per_change"),
        )

    def __str__(self) -> str:
        return f"{self.feed_id} #{self.seq}"
