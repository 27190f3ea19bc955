"""Stripe Checkout: opens a session for a payment, and expires sessions that must not be paid any more."""

import logging
import time
from typing import Any

from django.contrib.auth.models import AbstractUser
from django.db import transaction
from django.utils.translation import gettext as _

from .. import ledger
from ..domain.facts import Kind, StripeFact
from ..ledger import Cause, Source
from ..models import Fact, Payment
from .client import StripeRefusedError, StripeUnavailableError, call
from .objects import from_object
from .retrieve import read_session

logger = logging.getLogger(__name__)
SESSION_SECONDS = 60 * 60  # how long a Checkout page stays open; Stripe allows 30 minutes to 24 hours


class NotPayableError(Exception):
    """Nothing is due, or a payment is on its way already."""


def open_checkout(
    payment: Payment, *, return_url: str, cancel_url: str, language: str, actor: AbstractUser | None = None
) -> str:
    """Open a Checkout Session for what is due and return the URL of its page. Older open sessions expire first.

    Stripe replaces {CHECKOUT_SESSION_ID} in `return_url`. Raises NotPayableError and StripeUnavailableError.
    https://docs.stripe.com/api/checkout/sessions/create
    """
    expire_open(payment)
    attempt = _next_attempt(payment)
    metadata = {"payment_id": str(payment.public_id), "attempt": str(attempt)}
    line = {
        "quantity": 1,
        "price_data": {
            "currency": payment.currency,
            "unit_amount": payment.amount_due,
            "product_data": {"name": _("Appointment %(reference)s") % {"reference": payment.appointment.reference}},
        },
    }
    params: Any = {
        "mode": "payment",
        "line_items": [line],
        "success_url": return_url,
        "cancel_url": cancel_url,
        "client_reference_id": str(payment.public_id),
        "metadata": metadata,
        "payment_intent_data": {"metadata": metadata},
        "locale": "fr" if language == "fr" else "en",
        "expires_at": int(time.time()) + SESSION_SECONDS,
    }
    once: Any = {"idempotency_key": f"checkout-{payment.public_id}-{attempt}"}
    session, as_of = call(lambda stripe: stripe.v1.checkout.sessions.create(params, once))
    ledger.record(from_object(session, as_of), Cause(Source.CHECKOUT, actor=actor))
    return _newest_url(payment, session)


def _next_attempt(payment: Payment) -> int:
    """Count and return the number of the next attempt. Raises NotPayableError."""
    with transaction.atomic():
        row = Payment.objects.locked().get(pk=payment.pk)
        if not row.payable:
            raise NotPayableError
        row.checkout_attempts += 1
        row.save(update_fields=["checkout_attempts"])
    payment.amount_due, payment.currency = row.amount_due, row.currency
    return row.checkout_attempts


def _newest_url(payment: Payment, session: dict[str, str]) -> str:
    """Return the page of the newest open session and expire the others, so that two clicks at once lead to one page."""
    newest = max(_open_sessions(payment), key=lambda fact: int(fact.attempt or 0), default=None)
    expire_open(payment, keep=newest)
    return str(newest.details["url"]) if newest else session["url"]


def _open_sessions(payment: Payment) -> list[Fact]:
    return list(payment.facts.filter(kind=Kind.SESSION, status="open"))


def expire_open(payment: Payment, *, keep: Fact | None = None) -> None:
    """Expire the payment's open Checkout Sessions at Stripe, except `keep`. Raises StripeUnavailableError.

    A session that Stripe refuses to expire has been paid or has expired meanwhile, and is read from Stripe instead.
    """
    for fact in _open_sessions(payment):
        if keep is not None and fact.pk == keep.pk:
            continue
        ledger.record(_expire(fact.stripe_id), Cause(Source.CHECKOUT))


def _expire(session_id: str) -> list[StripeFact]:
    try:
        session, as_of = call(lambda stripe: stripe.v1.checkout.sessions.expire(session_id))
    except StripeRefusedError:
        return read_session(session_id)
    return from_object(session, as_of)


def expire_superfluous(payment: Payment) -> None:
    """Expire open sessions for money that is no longer due or for another amount; the sweeper retries failures."""
    payment.refresh_from_db()
    wrong = [fact for fact in _open_sessions(payment) if fact.amount != payment.amount_due]
    if payment.payable and not wrong:
        return
    try:
        expire_open(payment)
    except (StripeUnavailableError, StripeRefusedError) as error:
        logger.warning("checkout_expire_failed", extra={"payment_id": str(payment.public_id), "error": str(error)})
