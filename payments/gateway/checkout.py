"""Opens Stripe Checkout Sessions for payments, and expires Checkout Sessions that must not be paid any more."""

import logging
import secrets
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
from .metadata import metadata_of
from .objects import from_object
from .retrieve import read_session

logger = logging.getLogger(__name__)
SESSION_SECONDS = 60 * 60  # how long a Checkout page stays open; Stripe allows 30 minutes to 24 hours


class NotPayableError(Exception):
    """Raised when nothing is due for the appointment, or when a payment for it is already being processed."""


def open_checkout(
    payment: Payment, *, return_url: str, cancel_url: str, language: str, actor: AbstractUser | None = None
) -> str:
    """Expire the payment's open Checkout Sessions, open a new one for the amount due, and return its page's URL.

    Stripe replaces {CHECKOUT_SESSION_ID} in `return_url` with the id of the Checkout Session. Raises NotPayableError,
    StripeRefusedError and StripeUnavailableError. https://docs.stripe.com/api/checkout/sessions/create
    """
    expire_open(payment)
    _refresh_payable(payment)
    attempt = new_attempt()
    metadata = metadata_of(payment, attempt=attempt)
    line = {
        "quantity": 1,
        "price_data": {
            "currency": payment.currency,
            "unit_amount": payment.to_ask,
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
    try:
        session, as_of = call(lambda stripe: stripe.v1.checkout.sessions.create(params, once))
    except (StripeRefusedError, StripeUnavailableError) as error:
        logger.warning("checkout_failed", extra={"payment_id": str(payment.public_id), "error": str(error)})
        raise
    ledger.record(from_object(session, as_of), Cause(Source.CHECKOUT, actor=actor))
    return _newest_url(payment, session)


def _refresh_payable(payment: Payment) -> None:
    """Update the payment's amount due and currency from the database. Raises NotPayableError."""
    with transaction.atomic():
        row = Payment.objects.locked().get(pk=payment.pk)
        if not row.payable_online:
            raise NotPayableError
    payment.amount_due, payment.currency = row.amount_due, row.currency


def new_attempt() -> str:
    """Return a name for an attempt to pay, such as "1780142400000-9f86d081". Names sort by their time in milliseconds.

    No name comes again, also after a backup was restored: Stripe would take the new session for the lost one, whose
    idempotency key has this name.
    """
    return f"{time.time_ns() // 1_000_000:013}-{secrets.token_hex(4)}"


def _newest_url(payment: Payment, session: dict[str, str]) -> str:
    """Return the URL of the payment's newest open Checkout Session, and expire its other open ones.

    Two quick clicks create two Checkout Sessions. As only the newest one stays open, both clicks lead to its page.
    `session` is the Checkout Session that Stripe has just created; its URL is returned if none is open.
    """
    newest = max(_open_sessions(payment), key=lambda fact: (fact.attempt, fact.stripe_id), default=None)
    expire_open(payment, keep=newest)
    return str(newest.details["url"]) if newest else session["url"]


def _open_sessions(payment: Payment) -> list[Fact]:
    return list(payment.facts.filter(kind=Kind.SESSION, status="open"))


def wrong_sessions(payment: Payment) -> list[Fact]:
    """Return the payment's open Checkout Sessions for another amount or currency than what is asked now.

    If nothing is to be paid online, all of its open sessions are returned.
    """
    asked = (payment.to_ask, payment.currency) if payment.payable_online else None
    return [fact for fact in _open_sessions(payment) if (fact.amount, fact.currency) != asked]


def expire_open(payment: Payment, *, keep: Fact | None = None) -> None:
    """Expire the payment's open Checkout Sessions at Stripe, except the one in the row `keep`.

    If Stripe refuses because a Checkout Session has been paid or has expired meanwhile, its new state is recorded.
    Raises StripeUnavailableError.
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
    """Expire the payment's open Checkout Sessions if nothing is due any more, or if the amount due has changed.

    Errors are only logged, because `manage.py sweep` tries again.
    """
    payment.refresh_from_db()
    if not wrong_sessions(payment):
        return
    try:
        expire_open(payment)
    except (StripeUnavailableError, StripeRefusedError) as error:
        logger.warning("checkout_expire_failed", extra={"payment_id": str(payment.public_id), "error": str(error)})
