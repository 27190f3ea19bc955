"""Fetches the present state of a payment's Stripe objects, and records it through ledger.py, as webhooks do."""

from collections.abc import Iterator

from django.contrib.auth.models import AbstractUser

from .. import ledger
from ..domain.facts import Kind, StripeFact
from ..ledger import Cause, Recorded, Source
from ..models import EventReceipt, Payment
from .client import StripeRefusedError
from .retrieve import everything_about, read_session


def ask_stripe(payment: Payment, source: Source, actor: AbstractUser | None = None) -> Recorded:
    """Fetch the present state of the payment's Stripe objects and record it; return what changed.

    `actor` is the person who requested this, or None for a job. Raises StripeUnavailableError and StripeRefusedError.
    """
    facts = facts_at_stripe(payment)
    if not facts:
        return Recorded(EventReceipt.Outcome.NO_CHANGE, payment)
    return ledger.record(facts, Cause(source, actor=actor))


def confirm_return(payment: Payment, session_id: str) -> bool:
    """Return whether the Checkout Session `session_id` was opened for this payment, without asking Stripe.

    The id comes from the URL to which Stripe sends the patient back.
    """
    return session_id.isprintable() and payment.facts.filter(kind=Kind.SESSION, stripe_id=session_id).exists()


def facts_at_stripe(payment: Payment) -> list[StripeFact]:
    """Fetch all Stripe objects of the payment, and return them as facts.

    The objects are Checkout Sessions, PaymentIntents, charges, refunds and disputes. Raises StripeUnavailableError and
    StripeRefusedError.
    """
    facts = list(_sessions(payment))
    known = {fact.payment_intent_id for fact in facts}
    known |= set(payment.facts.values_list("payment_intent_id", flat=True))
    for payment_intent_id in sorted(known - {""}):
        facts += everything_about(payment_intent_id)
    return facts


def _sessions(payment: Payment) -> Iterator[StripeFact]:
    for session_id in payment.facts.filter(kind=Kind.SESSION).values_list("stripe_id", flat=True):
        try:
            yield from read_session(session_id)
        except StripeRefusedError as error:
            if not error.is_unknown_object:  # Stripe may have deleted a test session
                raise
