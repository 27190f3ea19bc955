"""Renders feed entries as HTML and as WebSocket messages, and caches the HTML in the process."""

import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence

import orjson
from django.template.loader import render_to_string
from django.utils import translation

from ..domain.status import PaymentStatus
from ..models import FeedEntry, Payment, StatusChange
from ..models.feed import STAFF
from .feeds import Batch, entries_after

CACHED = 1024  # rendered changes kept in a process, each a few kilobytes
INDENTATION = re.compile(r"\s*\n\s*")

Frames = dict[str, list[tuple[int, bytes]]]  # by language: pairs of an entry's number and its message
_cache: "OrderedDict[tuple[object, ...], str]" = OrderedDict()
_cache_lock = threading.Lock()


def render_entry(entry: FeedEntry, language: str) -> str:
    """Return the entry as HTML in this language, as htmx out-of-band swaps."""
    return _numbered(entry, render_change(entry.payment, entry.change, entry.feed.audience, language))


def _numbered(entry: FeedEntry, html: str) -> str:
    """Return the HTML with the entry's number, which isn't known yet when `render_change` is called early."""
    return html.replace("<live-entry", f'<live-entry data-seq="{entry.seq}"', 1)


def render_change(payment: Payment, change: StatusChange, audience: str, language: str) -> str:
    """Return a change of a payment as HTML for this audience, in this language; it is rendered only if not cached.

    The change needs to have its version and creation time, but no primary key.
    """
    key = _cache_key(payment, change, audience, language)
    with _cache_lock:
        if key not in _cache:
            _cache[key] = _render(payment, change, audience, language)
            if len(_cache) > CACHED:
                _cache.popitem(last=False)
        return _cache[key]


def _cache_key(payment: Payment, change: StatusChange, audience: str, language: str) -> tuple[object, ...]:
    """Return a cache key that no other change ever has.

    The key includes the change's creation time, because a version is given a second time after a backup was restored,
    and after a transaction was rolled back.
    """
    return payment.public_id, change.version, change.created_at, audience, language


def _render(payment: Payment, change: StatusChange, audience: str, language: str) -> str:
    context = {
        "payment": payment,
        "change": change,
        "audience": "staff" if audience == STAFF else "patient",
        "oob": True,
        "confirmed": change.moved and change.to_status == PaymentStatus.PAID,
        "rebooked": {"start", "practitioner"} & change.booking.keys(),
    }
    with translation.override(language):
        return INDENTATION.sub("\n", render_to_string("payments/_live_entry.html", context).strip())


def _frame(entry: FeedEntry, html: str) -> tuple[int, bytes]:
    message = {"seq": entry.seq, "prev": entry.seq - 1, "epoch": entry.feed.epoch, "html": _numbered(entry, html)}
    return entry.seq, orjson.dumps(message)


def render_frames(entries: Sequence[FeedEntry], languages: frozenset[str]) -> Frames:
    """Return the entries' messages in each of these languages; render those whose HTML isn't cached."""
    return _frames(entries, languages, render_change)


def cached_frames(entries: Sequence[FeedEntry], languages: frozenset[str]) -> Frames | None:
    """Return the entries' messages in each of these languages, or None if the HTML of any isn't cached.

    Reads the cache without its lock, so that the event loop never waits.
    """
    try:
        return _frames(entries, languages, lambda *change: _cache[_cache_key(*change)])
    except KeyError:
        return None


def _frames(
    entries: Sequence[FeedEntry], languages: frozenset[str], html_of: Callable[[Payment, StatusChange, str, str], str]
) -> Frames:
    """Return the entries' messages in each of these languages, with the HTML that `html_of` returns for a change."""
    return {
        language: [
            _frame(entry, html_of(entry.payment, entry.change, entry.feed.audience, language)) for entry in entries
        ]
        for language in languages
    }


def load_frames(audience: str, seq: int, epoch: str | None, languages: frozenset[str]) -> tuple[Batch, Frames]:
    """Load a batch of entries of the audience's feed after number `seq`. Return it and its messages in these languages.

    `epoch` is the feed's epoch to which the number `seq` belongs, or None if it isn't known; the batch is then a reset.
    """
    batch = entries_after(audience, seq, epoch)
    return batch, render_frames(batch.entries, languages)
