"""Says which feed a user may read, loads a feed's entries after a number, and makes a feed's open pages load again.

A feed is the numbered list of changes for one audience: "staff", or "patient.<id>" for one patient.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import orjson
from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.db import connection
from django.db.models import QuerySet
from django.utils import timezone

from appointments.models import Appointment
from people.models import AccessVersion

from ..models import Feed, FeedEntry, Installation, patient_audience
from ..models.feed import STAFF, Position

BATCH = 100  # entries loaded at once; a page that is further behind requests more


@dataclass(frozen=True, slots=True)
class Batch:
    """Entries of a feed after the number that was asked for, oldest first.

    `epoch` is the feed's epoch, and `head` the number of its newest entry. `reset` is true if the feed can't be
    continued from the number that was asked for; the page must then load its content again.
    """

    epoch: str
    head: int
    entries: list[FeedEntry] = field(default_factory=list)
    reset: bool = False

    @property
    def last(self) -> int:
        """Return the number of the last feed entry in the batch, or `head` if the batch is empty."""
        return self.entries[-1].seq if self.entries else self.head


def audience_of(user: AbstractBaseUser | AnonymousUser) -> str:
    """Return the audience whose feed (list of changes) the user may read: "staff", or "patient.<id>" for a patient.

    Return "" if the user is anonymous or inactive.
    """
    if user.pk is None or not user.is_active:
        return ""
    return feed_of(user.pk, is_staff=getattr(user, "is_staff", False))


def feed_of(user_id: int, *, is_staff: bool) -> str:
    """Return the audience that an active user belongs to: "staff", or "patient.<id>" for a patient."""
    return STAFF if is_staff else patient_audience(user_id)


def reload_pages(appointments: QuerySet[Appointment]) -> None:
    """Make those open pages load again that may show one of these appointments, because a name in them was corrected.

    Appointments of earlier days are left out. Call this function in the transaction that corrects the name.
    """
    today = timezone.localtime().replace(hour=0, minute=0, second=0, microsecond=0)
    patients = set(appointments.filter(start__gte=today).values_list("patient_id", flat=True))
    if patients:
        Feed.objects.begin_epoch([STAFF, *map(patient_audience, patients)])


def supported_language(code: str | None) -> str:
    """Return `code` if the site is translated into that language, else the code of the site's default language."""
    return code if code in dict(settings.LANGUAGES) else settings.LANGUAGE_CODE


def entries_after(audience: str, seq: int, epoch: str | None) -> Batch:
    """Load at most BATCH entries of the audience's feed after number `seq`. If there are none, this takes one query.

    `epoch` is the epoch to which the number `seq` belongs. A number without its epoch (None) says nothing, so the
    batch is then a reset.
    """
    feed = Feed.objects.of(audience)
    if epoch != feed.epoch or not feed.pruned <= seq <= feed.head:
        return Batch(*feed.position, reset=True)
    if seq == feed.head:
        return Batch(*feed.position)
    entries = FeedEntry.objects.filter(feed=feed, seq__gt=seq, seq__lte=feed.head).order_by("seq")
    related = ("feed", "change", "change__actor", "payment", "payment__appointment")
    batch = list(entries.select_related(*related)[:BATCH])
    for entry in batch:
        entry.payment.attach(entry.payment.appointment)
    return Batch(*feed.position, batch)


def load_positions(audiences: Collection[str]) -> dict[str, Position]:
    """Load the positions of the audiences' feeds (numbered lists of changes), in one query if all are stored."""
    stored = Feed.objects.filter(audience__among=audiences).values_list("audience", "epoch", "head")
    found = {audience: Position(epoch, head) for audience, epoch, head in stored}
    if len(found) < len(audiences):
        epoch = Installation.objects.get().epoch
        found = {audience: Position(epoch, 0) for audience in audiences} | found
    return found


# Returns the access version, and with it the feeds whose position isn't the one in a JSON object. A position is written
# as "epoch head", and that of a feed without entries, stored or not, as "".
MOVED = """
SELECT known.key, feed.epoch, feed.head, access.number
FROM {access} AS access
LEFT JOIN ({json_each} AS known LEFT JOIN {feed} AS feed ON feed.audience = known.key)
ON CASE WHEN feed.head > 0 THEN feed.epoch || ' ' || feed.head ELSE '' END <> known.value
"""


def load_moved(known: Mapping[str, Position]) -> tuple[int, dict[str, Position | None]]:
    """Load the access version (see people/access.py) and the feeds whose position is another than the known one.

    Return the version and the positions by audience; None stands for a feed that isn't stored. Makes one query, whose
    cost in this process hardly depends on the number of feeds.
    """
    text = orjson.dumps({audience: f"{at.epoch} {at.seq}" if at.seq else "" for audience, at in known.items()}).decode()
    json_each = "json_each_text(%s::json)" if connection.vendor == "postgresql" else "json_each(%s)"
    tables = {"access": AccessVersion._meta.db_table, "feed": Feed._meta.db_table}
    with connection.cursor() as cursor:
        cursor.execute(MOVED.format(json_each=json_each, **tables), [text])
        rows = cursor.fetchall()
    moved = {name: None if head is None else Position(epoch, head) for name, epoch, head, _access in rows if name}
    return rows[0][3], moved
