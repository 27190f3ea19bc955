"""Renders feed entries as HTML and as WebSocket messages, and caches both in the process."""

import json
import re
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from django.template.loader import render_to_string
from django.utils import translation

from ..domain.status import PaymentStatus
from ..models import FeedEntry
from ..models.feed import STAFF
from .feeds import Batch, entries_after

CACHED = 1024  # rendered entries kept in a process, each a few kilobytes
NO_TOAST = (PaymentStatus.UNPAID, PaymentStatus.CHECKOUT_OPEN)  # statuses that the page's own user has just caused
INDENTATION = re.compile(r"\s*\n\s*")

Frames = dict[str, list[tuple[int, bytes]]]  # by language: pairs of an entry's number and its message
_cache: "OrderedDict[tuple[object, ...], RenderedEntry]" = OrderedDict()
_cache_lock = threading.Lock()
_encoder = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))  # kept: json.dumps makes one for each call


@dataclass(frozen=True, slots=True)
class RenderedEntry:
    """A feed entry in one language: its HTML, and the WebSocket message that carries this HTML."""

    html: str
    frame: bytes


def render_entry(entry: FeedEntry, language: str) -> RenderedEntry:
    """Return the entry in this language, as htmx out-of-band swaps. It is rendered only if it isn't in the cache."""
    key = _cache_key(entry, language)
    with _cache_lock:
        if key not in _cache:
            _cache[key] = _render(entry, language)
            if len(_cache) > CACHED:
                _cache.popitem(last=False)
        return _cache[key]


def _cache_key(entry: FeedEntry, language: str) -> tuple[object, ...]:
    """Return a cache key that no other entry ever has.

    The key includes the entry's creation time, because a database restored from a backup assigns old numbers again.
    """
    return entry.feed.audience, entry.seq, entry.created_at, entry.payment.public_id, language


def _render(entry: FeedEntry, language: str) -> RenderedEntry:
    change = entry.change
    context = {
        "entry": entry,
        "payment": entry.payment,
        "change": change,
        "audience": "staff" if entry.feed.audience == STAFF else "patient",
        "oob": True,
        "notable": change.moved and change.to_status not in NO_TOAST,
        "confirmed": change.moved and change.to_status == PaymentStatus.PAID,
        "rebooked": {"start", "practitioner"} & change.booking.keys(),
    }
    with translation.override(language):
        html = INDENTATION.sub("\n", render_to_string("payments/_live_entry.html", context).strip())
    return RenderedEntry(html, encode({"seq": entry.seq, "prev": entry.seq - 1, "html": html}))


def encode(message: Mapping[str, object]) -> bytes:
    """Encode a message for the WebSocket, as compact JSON in UTF-8."""
    return _encoder.encode(message).encode()


def render_frames(entries: Sequence[FeedEntry], languages: frozenset[str]) -> Frames:
    """Return the entries' messages in each of these languages; render the messages that aren't cached."""
    return {language: [(entry.seq, render_entry(entry, language).frame) for entry in entries] for language in languages}


def cached_frames(entries: Sequence[FeedEntry], languages: frozenset[str]) -> Frames | None:
    """Return the entries' messages in each of these languages, or None if any message isn't cached.

    Reads the cache without its lock, so that the event loop never waits.
    """
    try:
        return {
            language: [(entry.seq, _cache[_cache_key(entry, language)].frame) for entry in entries]
            for language in languages
        }
    except KeyError:
        return None


def load_frames(audience: str, seq: int, epoch: str | None, languages: frozenset[str]) -> tuple[Batch, Frames]:
    """Load a batch of entries of the audience's feed after number `seq`. Return it and its messages in these languages.

    `epoch` is the feed's epoch to which the number `seq` belongs, or None if it isn't known; the batch is then a reset.
    """
    batch = entries_after(audience, seq, epoch)
    return batch, render_frames(batch.entries, languages)
