"""Fetches objects and events from Stripe's API, and returns objects as facts (a fact is one object's state)."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..domain.facts import Kind, StripeFact
from ..models import Payment
from .client import StripeRefusedError, call
from .event_types import EVENT_READERS
from .metadata import names_another_site
from .reading import Reading, understood

PAGE = 100  # objects in one answer, the most that Stripe allows
TYPES = 20  # event types in one list call, the most that Stripe allows


def read_session(session_id: str) -> list[StripeFact]:
    """Fetch a Checkout Session from Stripe, and return its state (a StripeFact) as the only item of a list.

    Raises StripeRefusedError and StripeUnavailableError.
    """
    return understood(*_session(session_id))


def _session(session_id: str) -> tuple[dict[str, Any], int]:
    params: Any = {"expand": ["payment_intent", "setup_intent.payment_method"]}
    return call(lambda stripe: stripe.v1.checkout.sessions.retrieve(session_id, params))


def everything_at_stripe(payment: Payment) -> Reading:
    """Fetch a payment's Checkout Sessions, PaymentIntents, charges, refunds, disputes and kept cards from Stripe.

    Raises StripeUnavailableError and StripeRefusedError.
    """
    reading = Reading()
    sessions = payment.facts.filter(kind__in=(Kind.SESSION, Kind.SETUP_PAGE))
    for session_id in sessions.values_list("stripe_id", flat=True):
        with _unknown_left_out():  # Stripe may have deleted a test session
            reading.add(*_session(session_id))
    known = {fact.payment_intent_id for fact in reading.facts}
    known |= set(payment.facts.values_list("payment_intent_id", flat=True))
    for payment_intent_id in sorted(known - {""}):
        reading.extend(everything_about(payment_intent_id))
    return reading


def everything_about(payment_intent_id: str) -> Reading:
    """Fetch a PaymentIntent and its charges, refunds and disputes from Stripe, as a Reading.

    It is empty if Stripe doesn't know the PaymentIntent, or if the PaymentIntent is another site's. Raises
    StripeUnavailableError and StripeRefusedError.
    """
    reading = Reading()
    with _unknown_left_out():
        params: Any = {"expand": ["payment_method"]}
        intent, as_of = call(lambda stripe: stripe.v1.payment_intents.retrieve(payment_intent_id, params))
        if names_another_site(intent):
            return reading
        reading.add(intent, as_of)
        for kind in ("charges", "refunds", "disputes"):
            for obj, as_of in listed(kind, payment_intent=payment_intent_id):
                reading.add(obj, as_of)
    return reading


@contextmanager
def _unknown_left_out() -> Iterator[None]:
    """Leave the `with` block without an error if Stripe answers that it doesn't know the object asked for."""
    try:
        yield
    except StripeRefusedError as error:
        if not error.is_unknown_object:
            raise


def refund_made_for(request: StripeFact) -> list[StripeFact]:
    """Fetch the refund that Stripe has made for `request`; return its state as the only item of a list, or [].

    The refund is found by the request's id in its metadata, which Stripe keeps for ever, unlike idempotency keys.
    Raises StripeUnavailableError and StripeRefusedError.
    """
    for refund, as_of in listed("refunds", payment_intent=request.payment_intent_id):
        if (refund.get("metadata") or {}).get("refund_request") == request.stripe_id:
            return understood(refund, as_of)
    return []


def listed(kind: str, **filters: object) -> Iterator[tuple[dict[str, Any], int]]:
    """Fetch the objects of the list call /v1/<kind> that match `filters`, page by page, newest first.

    Yield each object with the Unix time at which it was read. Raises StripeUnavailableError and StripeRefusedError.
    https://docs.stripe.com/api/pagination
    """
    params = {**filters, "limit": PAGE}
    while True:
        page, as_of = call(lambda stripe: getattr(stripe.v1, kind).list(params))
        yield from ((obj, as_of) for obj in page["data"])
        if not page["has_more"]:
            return
        params["starting_after"] = page["data"][-1]["id"]


def events_since(since: int) -> list[dict[str, Any]]:
    """Fetch the events that Stripe created at or after `since` (Unix seconds), oldest first.

    Only event types that this site handles are fetched. Stripe keeps events for 30 days. Raises StripeUnavailableError
    and StripeRefusedError.
    https://docs.stripe.com/api/events/list
    """
    types = list(EVENT_READERS)
    parts = [types[first : first + TYPES] for first in range(0, len(types), TYPES)]
    events = [event for part in parts for event, _ in listed("events", created={"gte": since}, types=part)]
    return sorted(events, key=lambda event: int(event["created"]))
