"""Cards that Stripe keeps for later: opens the page on which a patient leaves one, and has one removed.

https://docs.stripe.com/payments/save-and-reuse
"""

import logging
from typing import Any

from django.contrib.auth.models import AbstractUser
from django.db import transaction

from .. import ledger
from ..domain.cards import Card, CardState, card_of
from ..domain.facts import Kind, StripeFact
from ..ledger import Cause, Source
from ..models import Payment
from .checkout import (
    LANGUAGES,
    NotPayableError,
    add_page,
    customer_of,
    expire_setup_pages,
    expires_at,
    forget_attempt,
    new_attempt,
)
from .client import StripeRefusedError, StripeUnavailableError, call
from .consent import consent_to
from .metadata import metadata_of
from .objects import from_payment_method
from .reading import understood
from .retrieve import read_session

logger = logging.getLogger(__name__)


def open_setup(payment: Payment, *, return_url: str, cancel_url: str, language: str) -> str:
    """Record what the patient agrees to, and return the URL of a page at Stripe on which to leave a card.

    Pages for this payment that were opened before are closed. Stripe replaces {CHECKOUT_SESSION_ID} in `return_url`.
    Raises NotPayableError if no card is wanted, TooManyPagesError, StripeRefusedError and StripeUnavailableError.
    https://docs.stripe.com/payments/save-and-reuse?platform=checkout
    """
    attempt = new_attempt()
    with transaction.atomic():
        row = Payment.objects.locked().get(pk=payment.pk)
        if not row.wants_card:
            raise NotPayableError
        add_page(row, attempt, "")
        consent = consent_to(row, attempt, language)
        ledger.record([consent], Cause(Source.CHECKOUT))
    try:
        expire_setup_pages(payment)
        session, as_of = _create(payment, attempt, consent.details["text"], return_url, cancel_url, language)
    except (StripeRefusedError, StripeUnavailableError) as error:
        forget_attempt(payment, attempt)
        logger.warning("card_page_failed", extra={"payment_id": str(payment.public_id), "error": str(error)})
        raise
    ledger.record(understood(session, as_of), Cause(Source.CHECKOUT))
    payment.refresh_from_db()
    return str(session["url"])


def _create(
    payment: Payment, attempt: str, words: str, return_url: str, cancel_url: str, language: str
) -> tuple[dict[str, Any], int]:
    metadata = metadata_of(payment, attempt=attempt)
    params: Any = {
        "mode": "setup",
        "currency": payment.currency,
        "customer": customer_of(payment),
        "payment_method_types": ["card"],
        "client_reference_id": str(payment.public_id),
        "custom_text": {"submit": {"message": words}},
        "metadata": metadata,
        "setup_intent_data": {"metadata": metadata},
        "success_url": return_url,
        "cancel_url": cancel_url,
        "locale": LANGUAGES.get(language, "en"),
        "expires_at": expires_at(),
    }
    once: Any = {"idempotency_key": f"card-{payment.public_id}-{attempt}"}
    return call(lambda stripe: stripe.v1.checkout.sessions.create(params, once))


def read_card(payment: Payment, session_id: str) -> bool:
    """Learn from Stripe how the page on which the patient left a card ended; return whether the card is kept.

    This also brings the card's brand and last digits, which no event tells. If Stripe doesn't answer, what was known
    before is returned: its webhook and `manage.py sweep` bring the rest.
    """
    try:
        ledger.record(read_session(session_id), Cause(Source.RETURN_PAGE))
    except (StripeRefusedError, StripeUnavailableError) as error:
        logger.warning("card_unknown", extra={"payment_id": str(payment.public_id), "error": str(error)})
    payment.refresh_from_db()
    return payment.card == CardState.KEPT


def is_setup_page(payment: Payment, session_id: str) -> bool:
    """Return whether this Checkout Session was opened for the payment to keep a card, and not to pay."""
    return payment.facts.filter(kind=Kind.SETUP_PAGE, stripe_id=session_id).exists()


def kept_card(payment: Payment) -> Card:
    """Return the payment's newest card with what the patient agreed to, read from the payment's stored facts."""
    return card_of(row.value for row in payment.facts.all())


def remove_card(payment: Payment, actor: AbstractUser | None) -> None:
    """Have Stripe forget each card that is kept for this payment, so that nothing can be charged to it any more.

    `actor` is the person who asks for it, or None for a job. A card that was removed at Stripe before counts as
    removed. Raises StripeRefusedError and StripeUnavailableError.
    """
    by_patient = actor is not None and not actor.is_staff
    source = Source.CHECKOUT if by_patient else Source.DESK if actor else Source.SWEEP
    for fact in payment.facts.filter(kind=Kind.CARD, status="kept"):
        ledger.record([_detach(fact.stripe_id)], Cause(source, actor=actor))
    payment.refresh_from_db()


def _detach(method_id: str) -> StripeFact:
    """Detach a PaymentMethod from its customer, and return its state as a fact.

    Raises StripeUnavailableError, and StripeRefusedError if it stays attached.
    """
    try:
        method, as_of = call(lambda stripe: stripe.v1.payment_methods.detach(method_id))
    except StripeRefusedError:
        method, as_of = call(lambda stripe: stripe.v1.payment_methods.retrieve(method_id))
        if method.get("customer"):
            raise
    return from_payment_method(method, as_of)
