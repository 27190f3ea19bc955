"""Says which feed a user may read, loads a feed's entries after a number, and makes a feed's open pages load again.

A feed is the numbered list of changes for one audience: "staff", or "patient.<id>" for one patient.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.db.models import QuerySet, Value
from django.utils import timezone

from accounts.models import AccessVersion
from appointments.models import Appointment

from ..models import Feed, FeedEntry, patient_audience
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


def entries_after(audience: str, seq: int, epoch: str | None = None) -> Batch:
    """Load at most BATCH entries of the audience's feed after number `seq`. If there are none, this takes one query.

    `epoch` is the feed's epoch to which the number `seq` belongs, or None if it isn't known.
    """
    feed = Feed.objects.of(audience)
    if epoch not in (None, feed.epoch) or not feed.pruned <= seq <= feed.head:
        return Batch(*feed.position, reset=True)
    if seq == feed.head:
        return Batch(*feed.position)
    entries = FeedEntry.objects.filter(feed=feed, seq__gt=seq, seq__lte=feed.head).order_by("seq")
    related = ("feed", "change", "change__actor", "payment", "payment__appointment")
    return Batch(*feed.position, list(entries.select_related(*related)[:BATCH]))


class Heads(NamedTuple):
    """The newest numbers that a process with open pages has to know: each feed's position, by audience, and `access`.

    `access` is the access version, which changes when somebody's access may have ended (see accounts/access.py).
    """

    access: int
    feeds: dict[str, Position]


def load_heads(audiences: list[str]) -> Heads:
    """Load the positions of the audiences' feeds (numbered lists of changes) and the access version in one query.

    Audiences that have no feed yet are left out.
    """
    feeds = Feed.objects.filter(audience__among=audiences).values_list("audience", "epoch", "head")
    access = AccessVersion.objects.values_list(Value(""), Value(""), "number")
    found = {audience: Position(epoch, number) for audience, epoch, number in feeds.union(access, all=True)}
    return Heads(found.pop("").seq, found)
