"""Measures how long changes take from Stripe to patients' open pages, from times that the database stores."""

import math
import statistics
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from django.db.models import OuterRef, Subquery
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from ..models import EventReceipt, FeedEntry

NEWEST = 5000  # feed entries that are looked at; only the entries that were pushed to an open page are measured
LEGS: Mapping[str, Promise] = {
    "received": _("From Stripe to this site"),
    "applied": _("Recorded"),
    "pushed": _("Sent to the patient’s page"),
    "screen": _("From Stripe to the page, in total"),
    "seen": _("Seen by the patient"),
}


@dataclass(frozen=True, slots=True)
class Leg:
    """How long one part of the way from Stripe to the patient took, such as "Recorded", measured on `count` changes.

    `median` and `p95` (the 95th percentile) are in seconds.
    """

    name: str
    label: str
    count: int
    median: float
    p95: float


def legs() -> Iterator[Leg]:
    """Measure how long recent changes took on each part of the way from Stripe to the patient.

    Yield a result for each part in LEGS, except parts that no change went through. Only changes that a Stripe event
    caused and that were pushed to a patient's open page count. One query reads them all.
    """
    newest = FeedEntry.objects.order_by("-pk").values("pk")[:NEWEST]
    entries = FeedEntry.objects.filter(pk__in=newest, pushed_at__isnull=False).exclude(change__stripe_event_id="")
    receipt = EventReceipt.objects.filter(stripe_event_id=OuterRef("change__stripe_event_id")).values("received_at")
    moments = entries.annotate(received=Subquery(receipt)).values_list(
        "change__occurred_at", "received", "change__created_at", "pushed_at", "seen_at"
    )
    took: defaultdict[str, list[float]] = defaultdict(list)
    for created, received, applied, pushed, seen in moments:
        for name, start, end in (
            ("received", created, received),
            ("applied", received, applied),
            ("pushed", applied, pushed),
            ("screen", created, pushed),
            ("seen", pushed, seen),
        ):
            if start and end:
                took[name].append(max(0.0, (end - start).total_seconds()))
    for name, label in LEGS.items():
        if took[name]:
            yield Leg(name, str(label), len(took[name]), statistics.median(took[name]), p95(took[name]))


def p95(values: Sequence[float]) -> float:
    """Return the 95th percentile of `values`: the smallest one that is at least as great as 95 % of them."""
    return sorted(values)[math.ceil(0.95 * len(values)) - 1]
