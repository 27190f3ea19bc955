"""Fetches the present state of a payment's Stripe objects, and records it through ledger.py, as webhooks do."""

from django.contrib.auth.models import AbstractUser

from .. import ledger
from ..domain.facts import Kind
from ..ledger import Cause, Recorded, Source
from ..models import EventReceipt, Payment
from .retrieve import everything_at_stripe


def ask_stripe(payment: Payment, source: Source, actor: AbstractUser | None = None) -> Recorded:
    """Fetch the present state of the payment's Stripe objects and record it; return what changed.

    `actor` is the person who requested this, or None for a job. Raises StripeUnavailableError and StripeRefusedError,
    and NotUnderstoodError after the objects that this site understands are recorded.
    """
    reading = everything_at_stripe(payment)
    recorded = Recorded(EventReceipt.Outcome.NO_CHANGE, payment)
    if reading.facts:
        recorded = ledger.record(reading.facts, Cause(source, actor=actor))
    reading.settle()
    return recorded


def confirm_return(payment: Payment, session_id: str) -> bool:
    """Return whether the Checkout Session `session_id` was opened for this payment, without asking Stripe.

    The id comes from the URL to which Stripe sends the patient back.
    """
    return session_id.isprintable() and payment.facts.filter(kind=Kind.SESSION, stripe_id=session_id).exists()
