"""Which feed a person reads, and the entries of a feed after a number."""

from dataclasses import dataclass, field

from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser

from ..models import Feed, FeedEntry, patient_audience
from ..models.feed import STAFF

BATCH = 100  # entries handed out at once; a page further behind asks again
BEAT = 10  # seconds between two heartbeats of a socket


@dataclass(frozen=True, slots=True)
class Batch:
    """Entries after a number, oldest first. `reset` means that the number is of no use: the page must be read anew."""

    head: int
    entries: list[FeedEntry] = field(default_factory=list)
    reset: bool = False

    @property
    def last(self) -> int:
        """The number that somebody has reached who was given this batch."""
        return self.entries[-1].seq if self.entries else self.head


def audience_of(user: AbstractBaseUser | AnonymousUser) -> str:
    """Whose feed this user reads: all payments', their own, or none ("")."""
    if user.pk is None or not user.is_active:
        return ""
    return feed_of(user.pk, is_staff=getattr(user, "is_staff", False))


def feed_of(user_id: int, *, is_staff: bool) -> str:
    return STAFF if is_staff else patient_audience(user_id)


def supported_language(code: str | None) -> str:
    """The code when the site speaks it, else the site's default language."""
    return code if code in dict(settings.LANGUAGES) else settings.LANGUAGE_CODE


def entries_after(audience: str, seq: int) -> Batch:
    """At most BATCH entries after `seq`: one query when there are none."""
    feed = Feed.objects.filter(audience=audience).first() or Feed(audience=audience)
    if seq == feed.head:
        return Batch(feed.head)
    if not feed.pruned <= seq <= feed.head:
        return Batch(feed.head, reset=True)
    entries = FeedEntry.objects.filter(feed=feed, seq__gt=seq, seq__lte=feed.head).order_by("seq")
    related = ("feed", "change", "change__actor", "payment", "payment__appointment")
    return Batch(feed.head, list(entries.select_related(*related)[:BATCH]))


def heads_of(audiences: list[str]) -> dict[str, int]:
    """The newest number of each feed that has one, in one query."""
    return dict(Feed.objects.filter(audience__among=audiences).values_list("audience", "head"))
