"""Asking Stripe what it knows of a payment, and putting the answer through the same ledger as webhooks."""

import contextlib
from collections.abc import Iterator

from django.contrib.auth.models import User

from . import ledger
from .checkout import read_session
from .facts import Kind, StripeFact
from .ledger import Cause, Recorded, Source
from .models import EventReceipt, Payment
from .stripe_client import StripeRefusedError, call
from .stripe_objects import from_object


def ask_stripe(payment: Payment, source: Source, actor: User | None = None) -> Recorded:
    """Record everything that Stripe says now of this payment's objects. Raises StripeUnavailableError."""
    facts = [*_sessions(payment)]
    known = {fact.payment_intent_id for fact in facts}
    known |= set(payment.facts.exclude(payment_intent_id="").values_list("payment_intent_id", flat=True))
    for payment_intent_id in sorted(known - {""}):
        facts += _everything_about(payment_intent_id)
    if not facts:
        return Recorded(EventReceipt.Outcome.NO_CHANGE, payment)
    return ledger.record(facts, Cause(source, actor=actor))


def confirm_return(payment: Payment, session_id: str) -> bool:
    """Whether a return URL's session is one that we opened for this payment. Asks nobody."""
    return payment.facts.filter(kind=Kind.SESSION, stripe_id=session_id).exists()


def _sessions(payment: Payment) -> Iterator[StripeFact]:
    for session_id in payment.facts.filter(kind=Kind.SESSION).values_list("stripe_id", flat=True):
        with contextlib.suppress(StripeRefusedError):  # Stripe forgets test data
            yield from read_session(session_id)


def _everything_about(payment_intent_id: str) -> Iterator[StripeFact]:
    """The intent with its charges, refunds and disputes."""
    try:
        intent, as_of = call(lambda stripe: stripe.v1.payment_intents.retrieve(payment_intent_id))
    except StripeRefusedError:
        return
    yield from from_object(intent, as_of)
    params = {"payment_intent": payment_intent_id, "limit": 100}
    lists = (
        lambda stripe: stripe.v1.charges.list(params),
        lambda stripe: stripe.v1.refunds.list(params),
        lambda stripe: stripe.v1.disputes.list(params),
    )
    for listing in lists:
        page, as_of = call(listing)
        for obj in page["data"]:
            yield from from_object(obj, as_of)
