"""Giving money back through Stripe: asked once, counted as pending until Stripe says how it ended."""

import logging
import uuid
from dataclasses import replace
from typing import Any

from django.contrib.auth.models import AbstractUser
from django.db import transaction

from .. import ledger
from ..domain.attempts import Attempt, attempts_of
from ..domain.facts import Kind, StripeFact
from ..ledger import Cause, Source
from ..models import Payment
from .client import StripeRefusedError, StripeUnavailableError, call
from .lookup import everything_about
from .objects import from_object

logger = logging.getLogger(__name__)
REASONS = ("requested_by_customer", "duplicate", "fraudulent")  # https://docs.stripe.com/api/refunds/create


class NotRefundableError(Exception):
    """More than what is left to give back was asked. `remaining` is in minor units."""

    def __init__(self, remaining: int, code: str = "") -> None:
        super().__init__(code or f"{remaining} minor units remain")
        self.remaining = remaining
        self.code = code


def refund(payment: Payment, amount: int, reason: str, actor: AbstractUser | None, *, key: str = "") -> None:
    """Refund `amount` minor units to the way they came by, newest payment first.

    The same `key` again, as from a form that was sent twice, asks for nothing more.

    Raises NotRefundableError when that much isn't left or Stripe refuses, and StripeUnavailableError when Stripe
    doesn't answer: the refund then stays pending, and reconciling settles it with the same idempotency key.
    """
    for request in _request(payment, amount, reason, actor, key or uuid.uuid4().hex):
        send(payment, request, actor)


def was_asked(payment: Payment, key: str) -> bool:
    """Whether `refund` was called with this key."""
    return payment.facts.filter(stripe_id=f"request_{key}").exists()


def _request(payment: Payment, amount: int, reason: str, actor: AbstractUser | None, key: str) -> list[StripeFact]:
    with transaction.atomic():
        return reserve(Payment.objects.locked().get(pk=payment.pk), amount, reason, actor, key)


def reserve(row: Payment, amount: int, reason: str, actor: AbstractUser | None, key: str) -> list[StripeFact]:
    """Set the amount aside on a locked payment, so that two clicks never give back the same money.

    The requests to `send` once this is committed; none when the same `key` asked before.
    """
    if was_asked(row, key):
        return []
    attempts = [attempt for attempt in attempts_of([f.value for f in row.facts.all()]) if refundable(attempt) > 0]
    remaining = min(row.refundable, sum(refundable(attempt) for attempt in attempts))
    if not 0 < amount <= remaining:
        raise NotRefundableError(remaining)
    requests: list[StripeFact] = []
    for attempt in reversed(attempts):
        part = min(amount, refundable(attempt))
        if part:
            name = f"{key}_{len(requests)}" if requests else key
            requests.append(_request_fact(attempt, part, reason, name))
            amount -= part
    ledger.record(requests, Cause(Source.REFUND, actor=actor))
    return requests


def refundable(attempt: Attempt) -> int:
    """What Stripe could still give back of this attempt, in minor units; cash goes back over the desk."""
    if attempt.of(Kind.OFFLINE) or not any(fact.payment_intent_id for fact in attempt.facts):
        return 0
    return attempt.received - attempt.refunded - attempt.refund_pending


def _request_fact(attempt: Attempt, amount: int, reason: str, name: str) -> StripeFact:
    paid = attempt.payments()[0]
    return StripeFact(
        kind=Kind.REFUND,
        stripe_id=f"request_{name}",
        status="pending",
        as_of=paid.as_of,
        created=paid.as_of,
        amount=amount,
        currency=paid.currency,
        livemode=paid.livemode,
        payment_intent_id=paid.payment_intent_id,
        attempt=paid.attempt,
        details={"reason": reason},
    )


def send(payment: Payment, request: StripeFact, actor: AbstractUser | None) -> None:
    """Ask Stripe for a reserved refund; asking twice gives one refund. Raises as `refund` does."""
    params: Any = {
        "payment_intent": request.payment_intent_id,
        "amount": request.amount,
        "metadata": {"payment_id": str(payment.public_id), "refund_request": request.stripe_id},
    }
    if (reason := request.details.get("reason")) in REASONS:
        params["reason"] = reason
    try:
        answer, as_of = call(lambda stripe: stripe.v1.refunds.create(params, {"idempotency_key": request.stripe_id}))
    except StripeRefusedError as error:
        _withdraw(payment, request, actor)
        if error.code != "charge_already_refunded":  # then what was wanted is so already
            payment.refresh_from_db()
            raise NotRefundableError(payment.refundable, error.code) from error
        return
    except StripeUnavailableError:
        logger.warning(
            "refund_unknown", extra={"payment_id": str(payment.public_id), "refund_request": request.stripe_id}
        )
        raise
    ledger.record(from_object(answer, as_of), Cause(Source.REFUND, actor=actor))


def _withdraw(payment: Payment, request: StripeFact, actor: AbstractUser | None) -> None:
    """Stripe said no: the reserved amount is free again, and Stripe tells what it knows that we didn't."""
    known = everything_about(request.payment_intent_id)
    ledger.record([replace(request, status="canceled"), *known], Cause(Source.REFUND, actor=actor))
