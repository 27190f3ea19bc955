"""What each audience has been told: one dense, numbered list of entries per audience."""

from collections.abc import Iterable

from django.db import models
from django.utils.translation import gettext_lazy as _

from ..db import statements
from .change import StatusChange
from .payment import Payment

STAFF = "staff"


def patient_audience(user_id: int) -> str:
    return f"patient.{user_id}"


# Locks, counts and reads in one statement, row by row in the order given.
NEXT = """
INSERT INTO {table} (audience, head, pruned) VALUES {rows}
ON CONFLICT (audience) DO UPDATE SET head = {table}.head + 1
RETURNING {columns}
"""


class FeedQuerySet(models.QuerySet["Feed"]):
    def append(self, change: StatusChange, audiences: Iterable[str]) -> "list[FeedEntry]":
        """Number one entry for each audience. Call it last in a transaction.

        The feeds stay locked until its end, which makes commit order the order of numbers and leaves no holes;
        taken in sorted order, so that two calls never deadlock.
        """
        names = sorted(set(audiences))
        rows = ", ".join(["(%s, 1, 0)"] * len(names))
        sql = NEXT.format(table=Feed._meta.db_table, rows=rows, columns="{columns}")
        feeds: list[Feed] = statements.read(sql, names, Feed)
        entries = [FeedEntry(feed=feed, seq=feed.head, payment=change.payment, change=change) for feed in feeds]
        statements.insert(*entries)
        return entries

    def head_of(self, audience: str) -> int:
        return self.filter(audience=audience).values_list("head", flat=True).first() or 0


class Feed(models.Model):
    """`head` is the newest entry's number; entries up to `pruned` are gone."""

    audience = models.CharField(max_length=40, unique=True)
    head = models.PositiveBigIntegerField(default=0)
    pruned = models.PositiveBigIntegerField(default=0)

    objects = FeedQuerySet.as_manager()

    class Meta:
        verbose_name = _("feed")
        verbose_name_plural = _("feeds")

    def __str__(self) -> str:
        return self.audience


class FeedEntry(models.Model):
    feed = models.ForeignKey(Feed, models.CASCADE, related_name="entries")
    seq = models.PositiveBigIntegerField()
    payment = models.ForeignKey(Payment, models.PROTECT, related_name="+")
    change = models.ForeignKey(StatusChange, models.PROTECT, related_name="entries")
    created_at = models.DateTimeField(auto_now_add=True)
    pushed_at = models.DateTimeField(null=True, blank=True)  # patients' feeds: first written to an open page
    seen_at = models.DateTimeField(null=True, blank=True)  # patients' feeds: first shown on a page in sight

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
