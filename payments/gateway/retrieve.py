"""Fetches objects and events from Stripe's API, and returns objects as facts (a fact is one object's state)."""

from collections.abc import Iterator
from itertools import chain
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

    The list is empty if Stripe doesn't know the PaymentIntent or if it is another site's. Raises StripeUnavailableError
    and StripeRefusedError.
    """
    try:
        intent, as_of = call(lambda stripe: stripe.v1.payment_intents.retrieve(payment_intent_id))
    except StripeRefusedError as error:
        if error.is_unknown_object:
            return []
        raise
    if names_another_site(intent):
        return []
    lists = [listed(kind, payment_intent=payment_intent_id) for kind in ("charges", "refunds", "disputes")]
    objects = [(intent, as_of), *chain(*lists)]
    return [fact for obj, read_at in objects for fact in own_claims(obj, from_object(obj, read_at))]


def refund_made_for(request: StripeFact) -> list[StripeFact]:
    """Fetch the refund that Stripe has made for this site's refund request, and return it as a list of one fact.

    The list is empty if Stripe has made none. Unlike Stripe's memory of idempotency keys, the request's id in the
    refund's metadata stays for ever. Raises StripeUnavailableError and StripeRefusedError.
    """
    for refund, as_of in listed("refunds", payment_intent=request.payment_intent_id):
        if (refund.get("metadata") or {}).get("refund_request") == request.stripe_id:
            return from_object(refund, as_of)
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

    Only event types that this site applies are fetched. Stripe keeps events for 30 days. Raises StripeUnavailableError
    and StripeRefusedError.
    https://docs.stripe.com/api/events/list
    """
    events = listed("events", created={"gte": since}, types=list(EVENT_READERS)[:20])
    return sorted((event for event, _ in events), key=lambda event: int(event["created"]))
