"""A feed's entries as HTML and as socket frames, rendered once per language in a process."""

import json
import re
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass

from django.template.loader import render_to_string
from django.utils import translation

from ..domain.status import PaymentStatus
from ..models import FeedEntry
from ..models.feed import STAFF
from .feeds import Batch, entries_after

CACHED = 1024  # rendered entries kept in a process, each a few kilobytes
QUIET = (PaymentStatus.UNPAID, PaymentStatus.CHECKOUT_OPEN)  # no news: people did it themselves a moment ago
INDENTATION = re.compile(r"\s*\n\s*")

Frames = dict[str, list[tuple[int, bytes]]]  # for each language (number, frame) pairs
_rendered: "OrderedDict[tuple[object, ...], Rendered]" = OrderedDict()
_rendering = threading.Lock()


@dataclass(frozen=True, slots=True)
class Rendered:
    """An entry in one language: its HTML, and the same as a message of the socket."""

    html: str
    frame: bytes


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
        html = INDENTATION.sub("\n", render_to_string("payments/_live_entry.html", context).strip())
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
