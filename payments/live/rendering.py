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
NO_TOAST = (PaymentStatus.UNPAID, PaymentStatus.CHECKOUT_OPEN)  # the reader brought these about a moment ago
INDENTATION = re.compile(r"\s*\n\s*")

Frames = dict[str, list[tuple[int, bytes]]]  # for each language (number, message) pairs
_cache: "OrderedDict[tuple[object, ...], RenderedEntry]" = OrderedDict()
_cache_lock = threading.Lock()


@dataclass(frozen=True, slots=True)
class RenderedEntry:
    """A feed entry in one language: its HTML, and the WebSocket message that carries this HTML."""

    html: str
    frame: bytes


def render_entry(entry: FeedEntry, language: str) -> RenderedEntry:
    """Return the entry as htmx out-of-band swaps, for push, poll and resync; rendered once per language and process."""
    key = _cache_key(entry, language)
    with _cache_lock:
        if key not in _cache:
            _cache[key] = _render(entry, language)
            if len(_cache) > CACHED:
                _cache.popitem(last=False)
        return _cache[key]


def _cache_key(entry: FeedEntry, language: str) -> tuple[object, ...]:
    """Name an entry for ever: its time is part of the key because a restored database gives old numbers out again."""
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
    """Encode a message as the text that goes over the WebSocket."""
    return json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode()


def render_frames(entries: Sequence[FeedEntry], languages: frozenset[str]) -> Frames:
    """Return the entries' messages in each of these languages, rendering those that aren't cached."""
    return {language: [(entry.seq, render_entry(entry, language).frame) for entry in entries] for language in languages}


def cached_frames(entries: Sequence[FeedEntry], languages: frozenset[str]) -> Frames | None:
    """Return the entries' messages in each of these languages, or None if one isn't cached. Never waits for a lock."""
    try:
        return {
            language: [(entry.seq, _cache[_cache_key(entry, language)].frame) for entry in entries]
            for language in languages
        }
    except KeyError:
        return None


def load_frames(audience: str, seq: int, languages: frozenset[str]) -> tuple[Batch, Frames]:
    """Load a feed's entries after number `seq`, and render them in each of these languages."""
    batch = entries_after(audience, seq)
    return batch, render_frames(batch.entries, languages)
