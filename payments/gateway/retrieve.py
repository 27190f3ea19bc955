"""Fetches objects and events from Stripe's API, and returns objects as facts (a fact is one object's state)."""

from typing import Any

from ..domain.facts import StripeFact
from .client import StripeRefusedError, call
from .event_types import EVENT_READERS
from .metadata import names_another_site, own_claims
from .objects import from_object

PAGE = 100  # objects in one answer, the most that Stripe allows


def read_session(session_id: str) -> list[StripeFact]:
    """Fetch a Checkout Session from Stripe, and return its state (a StripeFact) as the only item of a list.

    Raises StripeRefusedError and StripeUnavailableError.
    """
    params: Any = {"expand": ["payment_intent"]}
    session, as_of = call(lambda stripe: stripe.v1.checkout.sessions.retrieve(session_id, params))
    return from_object(session, as_of)


def everything_about(payment_intent_id: str) -> list[StripeFact]:
    """Fetch a PaymentIntent and its charges, refunds and disputes from Stripe; return each one's state (a StripeFact).

    The list is empty if Stripe doesn't know the PaymentIntent or if it is another site's. Raises
    StripeUnavailableError.
    """
    try:
        intent, as_of = call(lambda stripe: stripe.v1.payment_intents.retrieve(payment_intent_id))
    except StripeRefusedError:
        return []
    if names_another_site(intent):
        return []
    params: Any = {"payment_intent": payment_intent_id, "limit": PAGE}
    pages = (
        call(lambda stripe: stripe.v1.charges.list(params)),
        call(lambda stripe: stripe.v1.refunds.list(params)),
        call(lambda stripe: stripe.v1.disputes.list(params)),
    )
    objects = [(intent, as_of), *((obj, listed_at) for page, listed_at in pages for obj in page["data"])]
    return [fact for obj, read_at in objects for fact in own_claims(obj, from_object(obj, read_at))]


def events_since(since: int) -> list[dict[str, Any]]:
    """Fetch the events that Stripe created at or after `since` (Unix seconds), oldest first.

    Only event types that this site handles are fetched. Stripe keeps events for 30 days. Raises StripeUnavailableError.
    https://docs.stripe.com/api/events/list
    """
    events: list[dict[str, Any]] = []
    params: Any = {"created": {"gte": since}, "types": list(EVENT_READERS)[:20], "limit": PAGE}
    while True:
        page, _ = call(lambda stripe: stripe.v1.events.list(params))
        events += page["data"]
        if not page["has_more"]:
            return sorted(events, key=lambda event: int(event["created"]))
        params["starting_after"] = page["data"][-1]["id"]
