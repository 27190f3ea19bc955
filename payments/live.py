"""What a page is told: the entries after the number that it knows, rendered once for everybody who is told them."""

import json
import re
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field

from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.template.loader import render_to_string
from django.utils import translation

from .models import Feed, FeedEntry, patient_audience
from .models.feed import STAFF
from .status import PaymentStatus

BATCH = 100  # entries handed out at once; a page further behind asks again
BEAT = 10  # seconds between two heartbeats of a socket
CACHED = 1024  # rendered entries kept in a process, each a few kilobytes
QUIET = (PaymentStatus.UNPAID, PaymentStatus.CHECKOUT_OPEN)  # no news: people did it themselves a moment ago
INDENTATION = re.compile(r"\s*\n\s*")

Frames = dict[str, list[tuple[int, bytes]]]  # for each language (number, frame) pairs
_rendered: "OrderedDict[tuple[object, ...], Rendered]" = OrderedDict()
_rendering = threading.Lock()


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


@dataclass(frozen=True, slots=True)
class Rendered:
    """An entry in one language: its HTML, and the same as a message of the socket."""

    html: str
    frame: bytes


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


def rendered(entry: FeedEntry, language: str) -> Rendered:
    """The entry as out-of-band swaps: the same for push, poll and resync, made once per language in a process."""
    key = _key(entry, language)
    with _rendering:
        if key not in _rendered:
            _rendered[key] = _render(entry, language)
            if len(_rendered) > CACHED:
                _rendered.popitem(last=False)
        return _rendered[key]


def _key(entry: FeedEntry, language: str) -> tuple[object, ...]:
    """The time too: a database that was put back to an older state numbers its entries anew."""
    return entry.feed.audience, entry.seq, entry.created_at, entry.payment.public_id, language


def _render(entry: FeedEntry, language: str) -> Rendered:
    change = entry.change
    context = {
        "entry": entry,
        "payment": entry.payment,
        "change": change,
        "audience": "staff" if entry.feed.audience == STAFF else "patient",
        "oob": True,
        "notable": change.moved and change.to_status not in QUIET,
        "confirmed": change.moved and change.to_status == PaymentStatus.PAID,
        "rebooked": {"start", "practitioner"} & change.booking.keys(),
    }
    with translation.override(language):
        html = INDENTATION.sub("\n", render_to_string("payments/_entry.html", context).strip())
    return Rendered(html, frame({"seq": entry.seq, "prev": entry.seq - 1, "html": html}))


def frame(message: Mapping[str, object]) -> bytes:
    """A message as it stands on the socket."""
    return json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode()


def frames_of(batch: Batch, languages: frozenset[str]) -> Frames:
    return {lang: [(entry.seq, rendered(entry, lang).frame) for entry in batch.entries] for lang in languages}


def at_hand(batch: Batch, languages: frozenset[str]) -> Frames | None:
    """The same when all of it has been rendered already; never waits."""
    try:
        return {
            lang: [(entry.seq, _rendered[_key(entry, lang)].frame) for entry in batch.entries] for lang in languages
        }
    except KeyError:
        return None


def frames_after(audience: str, seq: int, languages: frozenset[str]) -> tuple[Batch, Frames]:
    batch = entries_after(audience, seq)
    return batch, frames_of(batch, languages)
