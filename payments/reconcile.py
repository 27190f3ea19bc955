"""Asking Stripe what it knows, and putting the answer through the same ledger as webhooks."""

import contextlib
from collections.abc import Iterator
from typing import Any

from django.contrib.auth.models import User

from . import ledger
from .checkout import read_session
from .facts import Kind, StripeFact
from .ledger import Cause, Recorded, Source
from .models import EventReceipt, Payment
from .stripe_client import StripeRefusedError, call
from .stripe_objects import EVENT_READERS, from_object

PAGE = 100  # the most that Stripe lists at once


def ask_stripe(payment: Payment, source: Source, actor: User | None = None) -> Recorded:
    """Record everything that Stripe says now of this payment's objects. Raises StripeUnavailableError."""
    facts = facts_at_stripe(payment)
    if not facts:
        return Recorded(EventReceipt.Outcome.NO_CHANGE, payment)
    return ledger.record(facts, Cause(source, actor=actor))


def confirm_return(payment: Payment, session_id: str) -> bool:
    """Whether a return URL's session is one that we opened for this payment. Asks nobody."""
    return payment.facts.filter(kind=Kind.SESSION, stripe_id=session_id).exists()


def facts_at_stripe(payment: Payment) -> list[StripeFact]:
    """This payment's objects as Stripe has them now, found from those that we know of."""
    facts = list(_sessions(payment))
    known = {fact.payment_intent_id for fact in facts}
    known |= set(payment.facts.values_list("payment_intent_id", flat=True))
    for payment_intent_id in sorted(known - {""}):
        facts += everything_about(payment_intent_id)
    return facts


def _sessions(payment: Payment) -> Iterator[StripeFact]:
    for session_id in payment.facts.filter(kind=Kind.SESSION).values_list("stripe_id", flat=True):
        with contextlib.suppress(StripeRefusedError):  # Stripe forgets test data
            yield from read_session(session_id)


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
