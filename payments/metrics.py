"""What this process counts and times, for Prometheus. /metrics adds what the database knows (views/health.py).

https://prometheus.io/docs/practices/naming/. Nothing here names a person, a payment or an event.
"""

import time
from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any

from django.http import HttpRequest, HttpResponse
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
PUSH_SECONDS = Histogram(
    "payments_push_seconds",
    "Seconds from a change being written to the database to its frame being written to open sockets",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60),
)
REFUSED = {400: "refused", 404: "unknown_endpoint", 405: "refused", 413: "too_large"}

Webhook = Callable[..., HttpResponse]


def timed(view: Webhook) -> Webhook:
    """Time the webhook's answers, and count those that never reach the ledger."""

    @wraps(view)
    def measured(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            with WEBHOOK_SECONDS.time():
                response = view(request, *args, **kwargs)
        except Exception:
            WEBHOOKS.labels("error").inc()
            raise
        if response.status_code in REFUSED:
            WEBHOOKS.labels(REFUSED[response.status_code]).inc()
        return response

    return measured


def received(outcome: str, deliveries: int, created: int) -> None:
    """One verified delivery of an event that Stripe created at `created` (Unix seconds)."""
    WEBHOOKS.labels(outcome if deliveries == 1 else f"{outcome}_again").inc()
    if deliveries == 1:
        EVENT_AGE.observe(max(0, time.time() - created))


def pushed(entries: Iterable[Any]) -> None:
    """Feed entries that were just written to this process's sockets."""
    for entry in entries:
        PUSH_SECONDS.observe(max(0, time.time() - entry.created_at.timestamp()))
