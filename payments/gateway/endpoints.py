"""Compares the webhook endpoints at Stripe with what this site needs, and creates, changes and deletes them.

The doctor reads the comparison; `manage.py stripe_setup` also acts on it.
https://docs.stripe.com/api/webhook_endpoints
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from ..addresses import absolute
from ..domain.facts import Json
from .client import API_VERSION, call
from .event_types import EVENT_READERS
from .retrieve import listed

REFUND_EVENTS_SINCE = "2024-10-28"  # earlier API versions have no events about most refunds: docs.stripe.com/changelog


@dataclass(frozen=True)
class Comparison:
    """Stripe's endpoints with this site's URL, newest first, and how those that are enabled differ from what is needed.

    `other_hosts` are the hosts of all other endpoints, `missing` the event types that no endpoint sends, `unneeded`
    those that an endpoint sends although the site ignores them ("*" stands for all), and `outdated` the newest API
    version among the endpoints if it has no events about most refunds, else "".
    """

    ours: Sequence[Json]
    other_hosts: Sequence[str]
    missing: Sequence[str]
    unneeded: Sequence[str]
    outdated: str

    @property
    def enabled(self) -> list[Json]:
        return [endpoint for endpoint in self.ours if endpoint["status"] == "enabled"]


def compare() -> Comparison:
    """Fetch the endpoints of this key's account and mode. Raises StripeUnavailableError and StripeRefusedError."""
    every = [endpoint for endpoint, _as_of in listed("webhook_endpoints")]
    url = absolute("clinic:stripe_webhook")
    ours = [endpoint for endpoint in every if endpoint["url"].rstrip("/") == url.rstrip("/")]
    enabled = [endpoint for endpoint in ours if endpoint["status"] == "enabled"]
    types = {event_type for endpoint in enabled for event_type in endpoint["enabled_events"]}
    return Comparison(
        ours=sorted(ours, key=lambda endpoint: -int(endpoint["created"])),
        other_hosts=sorted({urlsplit(endpoint["url"]).netloc for endpoint in every if endpoint not in ours}),
        missing=[] if "*" in types or not enabled else sorted(set(EVENT_READERS) - types),
        unneeded=sorted(types - set(EVENT_READERS)),
        outdated=_outdated_version(enabled),
    )


def _outdated_version(endpoints: Sequence[Json]) -> str:
    """Return the newest API version among the endpoints' events if it is older than REFUND_EVENTS_SINCE, else "".

    An endpoint without a version has the account's version, which is read from Stripe's newest event. If there is no
    event, that version is unknown and doesn't count.
    """
    versions = {endpoint["api_version"] for endpoint in endpoints}
    if None in versions:
        page, _as_of = call(lambda stripe: stripe.v1.events.list({"limit": 1}))
        versions = {*versions - {None}, *(event["api_version"] for event in page["data"])}
    newest = max(versions, default="")
    return newest if newest < REFUND_EVENTS_SINCE else ""


def create() -> str:
    """Create an endpoint for this site, and return its signing secret, which Stripe never tells again."""
    url = absolute("clinic:stripe_webhook")
    params: Any = {"url": url, "enabled_events": list(EVENT_READERS), "api_version": API_VERSION}
    endpoint, _as_of = call(lambda stripe: stripe.v1.webhook_endpoints.create(params))
    return str(endpoint["secret"])


def correct(endpoint_id: str) -> None:
    """Enable the endpoint, and let it send exactly the event types that this site reads."""
    params: Any = {"disabled": False, "enabled_events": list(EVENT_READERS)}
    call(lambda stripe: stripe.v1.webhook_endpoints.update(endpoint_id, params))


def delete(endpoint_id: str) -> None:
    call(lambda stripe: stripe.v1.webhook_endpoints.delete(endpoint_id))


def accepted_since(created: int) -> bool:
    """Return whether all endpoints have accepted an event that Stripe made after `created`, in Unix seconds.

    An event that an endpoint has not accepted is counted in `pending_webhooks`. https://docs.stripe.com/api/events/object
    """
    params: Any = {"created": {"gt": created}, "types": list(EVENT_READERS)[:20], "limit": 100}
    page, _as_of = call(lambda stripe: stripe.v1.events.list(params))
    return any(event["pending_webhooks"] == 0 for event in page["data"])
