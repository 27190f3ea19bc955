"""This process's Prometheus counters and histograms. The page /metrics also shows the gauges of gauges.py.

Metrics are named as https://prometheus.io/docs/practices/naming/ says. No label names a person, payment or event.
"""

import time
from collections.abc import Iterable
from typing import Any

from prometheus_client import Counter, Histogram

WEBHOOKS = Counter("payments_webhooks", "Deliveries from Stripe, by what became of them", ["outcome"])
WEBHOOK_SECONDS = Histogram(
    "payments_webhook_seconds",
    "Seconds until a delivery was answered",
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20),
)
EVENT_AGE = Histogram(
    "payments_event_age_seconds",
    "Seconds from an event's creation at Stripe (whole seconds there) to its first delivery here",
    buckets=(1, 2, 5, 10, 30, 60, 300, 3600, 6 * 3600, 24 * 3600, 3 * 24 * 3600),
)
PUSH, TAIL = "push", "tail"  # how a process learns of a change: from a hint, or by querying the database
SOON = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60)
PUSH_SECONDS = Histogram(
    "payments_push_seconds",
    "Seconds from a change being written to the database to its frame being written to open sockets",
    ["path"],
    buckets=SOON,
)
PROBE_SECONDS = Histogram(
    "payments_probe_seconds",
    "Seconds from the commit of this process's own probe to its hearing of it",
    ["path"],
    buckets=SOON,
)
for path in (PUSH, TAIL):
    PUSH_SECONDS.labels(path)
    PROBE_SECONDS.labels(path)
POLLS = Counter("payments_live_polls", "Polls of pages without a socket")
RECONNECTS = Counter("payments_live_reconnects", "Pages that came back, by what had cut them off", ["why"])
SOCKETS_CLOSED = Counter(
    "payments_live_sockets_closed", "Sockets closed because their session ended or lost its right", ["code"]
)
SOCKETS_CUT = Counter("payments_live_sockets_cut_slow", "Sockets cut because their reader was too slow")
FEEDS_FOUND_LATE = Counter(
    "payments_live_feeds_found_late", "Changes that no hint told of, found by asking the database"
)
LAYER_ERRORS = Counter("payments_live_layer_errors", "Calls to the channel layer that failed")
READS_REFUSED = Counter("payments_reads_refused", "Pages refused to staff who open more payments than anybody reads")
REFUSED = {400: "refused", 404: "unknown_endpoint", 413: "too_large"}  # outcomes, by the HTTP status of the response


def count_delivery(outcome: str) -> None:
    """Count one webhook delivery from Stripe, labelled with its outcome."""
    WEBHOOKS.labels(outcome).inc()


def observe_event_age(created: int) -> None:
    """Record how many seconds ago Stripe created an event; `created` is in Unix seconds."""
    EVENT_AGE.observe(max(0, time.time() - created))


def total(counter: Counter) -> int:
    """Return the sum of this process's counter over all its labels."""
    samples = [sample for family in counter.collect() for sample in family.samples]
    return int(sum(sample.value for sample in samples if sample.name.endswith("_total")))


def pushed(entries: Iterable[Any], path: str) -> None:
    """Record the age of feed entries that were just written to sockets.

    `path` is how this process learned of them: PUSH (by a message sent at the commit) or TAIL (by its regular query).
    """
    for entry in entries:
        PUSH_SECONDS.labels(path).observe(max(0, time.time() - entry.created_at.timestamp()))
