"""Reading from Stripe: its objects as facts, and the events that it keeps."""

from typing import Any

from ..domain.facts import StripeFact
from .client import StripeRefusedError, call
from .objects import EVENT_READERS, from_object

PAGE = 100  # the most that Stripe lists at once


def read_session(session_id: str) -> list[StripeFact]:
    """What Stripe says of a Checkout Session now. Raises StripeRefusedError and StripeUnavailableError."""
    params: Any = {"expand": ["payment_intent"]}
    session, as_of = call(lambda stripe: stripe.v1.checkout.sessions.retrieve(session_id, params))
    return from_object(session, as_of)


def everything_about(payment_intent_id: str) -> list[StripeFact]:
    """A PaymentIntent with its charges, refunds and disputes; empty when Stripe doesn't know it."""
    try:
        intent, as_of = call(lambda stripe: stripe.v1.payment_intents.retrieve(payment_intent_id))
    except StripeRefusedError:
        return []
    params: Any = {"payment_intent": payment_intent_id, "limit": PAGE}
    pages = (
        call(lambda stripe: stripe.v1.charges.list(params)),
        call(lambda stripe: stripe.v1.refunds.list(params)),
        call(lambda stripe: stripe.v1.disputes.list(params)),
    )
    found = [(intent, as_of), *((obj, page_as_of) for page, page_as_of in pages for obj in page["data"])]
    return [fact for obj, seen_at in found for fact in from_object(obj, seen_at)]


def events_since(since: int) -> list[dict[str, Any]]:
    """Events of the types listened to that Stripe created from `since` (Unix seconds) on, oldest first.

    Stripe keeps them for 30 days. Raises StripeUnavailableError. https://docs.stripe.com/api/events/list
    """
    events: list[dict[str, Any]] = []
    params: Any = {"created": {"gte": since}, "types": list(EVENT_READERS)[:20], "limit": PAGE}
    while True:
        page, _ = call(lambda stripe: stripe.v1.events.list(params))
        events += page["data"]
        if not page["has_more"]:
            return sorted(events, key=lambda event: int(event["created"]))
        params["starting_after"] = page["data"][-1]["id"]
