"""Feeds: numbered lists of payment changes, one for all staff and one for each patient.

Entries are numbered without holes, so that a page can tell which entries it lacks. A number counts only within the
feed's epoch, a random id. Pages of an earlier epoch load their content again. A new epoch begins after a backup was
restored, because numbers are then given a second time, and when a name is corrected, because entries hold no names.
"""

import datetime
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import orjson
from django.db import connection, models, transaction
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from ..db.statements import Statement, run
from .change import StatusChange
from .installation import Installation, new_epoch
from .payment import Payment

STAFF = "staff"


def patient_audience(user_id: int) -> str:
    """Return the audience (the name that stands for a feed's readers) of a patient's own feed: "patient.<id>"."""
    return f"patient.{user_id}"


# Create missing feeds, lock all in the order of the rows, and add to each `head` the number of the feed's new entries.
COUNT = """
INSERT INTO {feed} (audience, head, pruned, epoch)
SELECT r.audience, r.added, 0, (SELECT epoch FROM {installation} WHERE id = 1)
FROM json_to_recordset(%(rows)s) AS r(audience varchar, added bigint) WHERE true
ON CONFLICT (audience) DO UPDATE SET head = {feed}.head + excluded.head
RETURNING {{columns}}
"""
# `later` is how many new entries of the feed follow this one. An entry's number is `head` - `later`. Python can't
# compute it, because COUNT raises `head` in the same message.
ENTER = """
INSERT INTO {entry} (feed_id, seq, payment_id, change_id, created_at)
SELECT (SELECT id FROM {feed} WHERE audience = r.audience),
    (SELECT head FROM {feed} WHERE audience = r.audience) - r.later, r.payment_id,
    (SELECT id FROM {change} WHERE payment_id = r.payment_id AND version = r.version), r.created_at
FROM json_to_recordset(%(rows)s)
    AS r(audience varchar, later bigint, payment_id bigint, version integer, created_at timestamptz)
RETURNING id, feed_id, seq, change_id
"""


class Position(NamedTuple):
    """A place in a feed (numbered list of changes): after the entry with number `seq`, in the feed's epoch `epoch`."""

    epoch: str
    seq: int


class FeedQuerySet(models.QuerySet["Feed"]):
    def append(
        self,
        changes: Iterable[StatusChange],
        *,
        first: Iterable[Statement],
        reload: Iterable[str] = (),
        meanwhile: Callable[[], object] | None = None,
    ) -> "list[FeedEntry]":
        """Run the statements `first`, append entries about `changes` to the feeds, and commit; return the entries.

        Each change gets an entry in the staff's feed and one in its patient's. All is sent in one message, and the
        feeds come last, because they stay locked until the transaction ends, so that entries are numbered in the order
        of commits, without holes. They are locked in sorted order, so that two transactions never deadlock. Open pages
        of the audiences `reload` load again, because their feeds begin a new epoch. `meanwhile` is called while
        PostgreSQL works.
        """
        reload, now = set(reload), timezone.now()
        listed: dict[str, list[StatusChange]] = {audience: [] for audience in reload}
        for change in changes:
            for audience in (patient_audience(change.payment.appointment.patient_id), STAFF):
                listed.setdefault(audience, []).append(change)
        counts = [{"audience": audience, "added": len(listed[audience])} for audience in sorted(listed)]
        *_, feeds, keys = run(
            *first,
            Statement(COUNT, {"rows": orjson.dumps(counts)}, Feed, idle=not counts),
            Statement(ENTER, {"rows": _as_json(listed, now)}, idle=not any(listed.values())),
            commit=not reload,
            meanwhile=meanwhile,
        )
        found = {(feed_id, seq): (pk, change_id) for pk, feed_id, seq, change_id in keys}
        entries = []
        for feed in feeds:
            before = feed.head - len(listed[feed.audience])
            if feed.audience in reload and before:  # nobody has read a feed that was empty
                feed.epoch = self.begin_epoch([feed.audience])
            for seq, change in enumerate(listed[feed.audience], before + 1):
                pk, change.pk = found[feed.pk, seq]
                entries.append(
                    FeedEntry(pk=pk, feed=feed, seq=seq, payment=change.payment, change=change, created_at=now)
                )
        return entries

    def of(self, audience: str) -> "Feed":
        """Return the audience's feed. If none is stored yet, return a new one, unsaved and without entries."""
        feed = self.filter(audience=audience).first()
        return feed or Feed(audience=audience, epoch=Installation.objects.get().epoch)

    def begin_epoch(self, audiences: Iterable[str] | None = None) -> str:
        """Begin and return a new epoch of the audiences' feeds, by default of all, so that open pages load again.

        The feeds are locked in the order in which `append` locks them, so that two transactions never deadlock.
        """
        epoch = new_epoch()
        with transaction.atomic():
            feeds = self.all() if audiences is None else self.filter(audience__among=sorted(set(audiences)))
            locked = [feed.pk for feed in feeds.order_by("audience").select_for_update()]
            self.filter(pk__among=locked).update(epoch=epoch)
            if audiences is None:
                Installation.objects.update(epoch=epoch)
        return epoch

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


COUNT, ENTER = (
    sql.format(
        feed=Feed._meta.db_table,
        installation=Installation._meta.db_table,
        entry=FeedEntry._meta.db_table,
        change=StatusChange._meta.db_table,
    )
    for sql in (COUNT, ENTER)
)


def _as_json(listed: Mapping[str, Sequence[StatusChange]], now: datetime.datetime) -> bytes:
    """Return a JSON list with one feed entry for each audience and change. The statement ENTER reads it."""
    created_at = str(FeedEntry._meta.get_field("created_at").get_db_prep_save(now, connection))
    rows = [
        {
            "audience": audience,
            "later": len(changes) - place,
            "payment_id": change.payment_id,
            "version": change.version,
            "created_at": created_at,
        }
        for audience, changes in listed.items()
        for place, change in enumerate(changes, 1)
    ]
    return orjson.dumps(rows)
