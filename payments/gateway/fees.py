"""Charges of kept cards while their owners are absent. Each is requested once, as refunds are (see gateway/refunds.py).

https://docs.stripe.com/payments/save-and-reuse#charge-saved-payment-method
"""

import logging
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from django.contrib.auth.models import AbstractUser

from .. import ledger
from ..domain.cards import Card
from ..domain.facts import REQUEST_PREFIX, Kind, StripeFact
from ..ledger import Cause, Source
from ..models import Payment
from .client import StripeKeyError, StripeRefusedError, StripeUnavailableError, call
from .metadata import metadata_of
from .reading import understood
from .retrieve import listed

logger = logging.getLogger(__name__)
RESEND_SECONDS = 60 * 60  # how long a request that never reached Stripe may still be sent; later, people expect nothing
SETTLED = ("succeeded", "processing", "canceled")  # a PaymentIntent that nobody can pay a second time
AUTHENTICATION_REQUIRED = "authentication_required"  # the bank wants the card's owner to confirm the payment


class DeclinedError(Exception):
    """Raised when a kept card isn't charged. `code` is Stripe's decline or error code.

    The PaymentIntent is canceled then, so that the same money can't be paid twice.
    """

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


def was_requested(payment: Payment, key: str) -> bool:
    """Return whether a charge with this `key` is recorded for the payment."""
    return payment.facts.filter(stripe_id=f"{REQUEST_PREFIX}{key}").exists()


def reserve(row: Payment, card: Card, amount: int, actor: AbstractUser | None, key: str) -> StripeFact:
    """Record in the ledger that `amount` minor units are being charged to the card; return the request to Stripe.

    The caller must have locked the payment `row`, and must pass the request to `send` after the commit. Until it is
    answered, the money counts as on its way, so that nobody asks for it a second time.
    """
    details = {"card": card.payment_method_id, "customer": card.customer_id}
    request = row.own_fact(Kind.INTENT, f"{REQUEST_PREFIX}{key}", "processing", amount, **details)
    request = replace(request, attempt=f"fee-{key}"[:40])
    ledger.record([request], Cause(Source.DESK, actor=actor))
    return request


def send(payment: Payment, request: StripeFact, actor: AbstractUser | None) -> None:
    """Charge the card as `request`, which `reserve` has stored, says, and record Stripe's answer.

    Raises DeclinedError when the card isn't charged, and StripeUnavailableError when it isn't known whether it is;
    `manage.py sweep` finds that out.
    """
    params: Any = {
        "amount": request.amount,
        "currency": request.currency,
        "customer": request.details["customer"],
        "payment_method": request.details["card"],
        "payment_method_types": ["card"],
        "confirm": True,
        "off_session": True,
        "error_on_requires_action": True,
        "metadata": metadata_of(payment, attempt=request.attempt, fee_request=request.stripe_id),
    }
    once: Any = {"idempotency_key": request.stripe_id}
    try:
        answer, as_of = call(lambda stripe: stripe.v1.payment_intents.create(params, once))
    except StripeRefusedError as error:
        logger.warning("fee_refused", extra=_named(payment, request) | {"code": error.code})
        made = None if isinstance(error, StripeKeyError) else _made_for(request)
        _settle(request, made, error.code, actor)
    except StripeUnavailableError as error:
        logger.warning("fee_unknown", extra=_named(payment, request) | {"code": str(error)})
        raise
    else:
        _settle(request, (answer, as_of), "", actor)


def send_again(payment: Payment, request: StripeFact, actor: AbstractUser | None) -> None:
    """Settle a request that has no answer: record what Stripe made of it, or else send it again or withdraw it.

    It is withdrawn if it is older than RESEND_SECONDS. Raises DeclinedError and StripeUnavailableError.
    """
    if made := _made_for(request):
        _settle(request, made, "", None)
    elif request.created > time.time() - RESEND_SECONDS:
        send(payment, request, actor)
    else:
        _settle(request, None, "not_sent", None)


Made = tuple[Mapping[str, Any], int]  # a PaymentIntent, and when Stripe answered it (Unix seconds)


def _made_for(request: StripeFact) -> Made | None:
    """Return the PaymentIntent that Stripe has made for `request`, or None if there is none.

    It is found by the request's id in its metadata, which Stripe keeps for ever, unlike idempotency keys. Raises
    StripeUnavailableError, also if Stripe refuses to tell.
    """
    try:
        for intent, as_of in listed("payment_intents", customer=request.details["customer"]):
            if (intent.get("metadata") or {}).get("fee_request") == request.stripe_id:
                return intent, as_of
    except StripeRefusedError as error:
        raise StripeUnavailableError(error.code) from error
    return None


def _settle(request: StripeFact, made: Made | None, code: str, actor: AbstractUser | None) -> None:
    """Record how a request to charge a card ended. A PaymentIntent that still could be paid is canceled first.

    `made` is the request's PaymentIntent, if Stripe made one; `code` is Stripe's error code, if it sent one. Raises
    DeclinedError if the card isn't charged, and StripeUnavailableError.
    """
    facts: list[StripeFact] = []
    if made:
        code = _decline_code(made[0]) or code
        if made[0]["status"] not in SETTLED:
            made = _cancel(str(made[0]["id"]))
        facts = understood(*made)
    charged = any(fact.status in ("succeeded", "processing") for fact in facts)
    if not charged:
        details = {**request.details, "failure_code": code}
        facts.append(replace(request, status="failed", as_of=int(time.time()), details=details))
    ledger.record(facts, Cause(Source.DESK if actor else Source.SWEEP, actor=actor))
    if not charged:
        raise DeclinedError(code)


def _cancel(intent_id: str) -> Made:
    """Cancel a PaymentIntent, or return what became of it if Stripe refuses.

    Raises StripeUnavailableError, also if it may still be paid.
    """
    try:
        try:
            return call(lambda stripe: stripe.v1.payment_intents.cancel(intent_id))
        except StripeRefusedError:
            found, as_of = call(lambda stripe: stripe.v1.payment_intents.retrieve(intent_id))
    except StripeRefusedError as error:
        raise StripeUnavailableError(error.code) from error
    if found["status"] not in SETTLED:
        raise StripeUnavailableError("not canceled")
    return found, as_of


def _decline_code(intent: Mapping[str, Any]) -> str:
    error = intent.get("last_payment_error") or {}
    return str(error.get("decline_code") or error.get("code") or "")


def _named(payment: Payment, request: StripeFact) -> dict[str, str]:
    return {"payment_id": str(payment.public_id), "fee_request": request.stripe_id}
