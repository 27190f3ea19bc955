"""Refunds through Stripe. Each refund is requested once, and is pending until Stripe says how it ended."""

import contextlib
import logging
import time
from dataclasses import replace
from typing import Any

from django.contrib.auth.models import AbstractUser

from .. import ledger
from ..domain.attempts import Attempt, attempts_of
from ..domain.facts import REQUEST_PREFIX, Json, Kind, StripeFact
from ..ledger import Cause, Source
from ..models import Payment
from .client import StripeRefusedError, StripeUnavailableError, call
from .metadata import metadata_of
from .reading import Reading, understood
from .retrieve import everything_about, refund_made_for

logger = logging.getLogger(__name__)
REASONS = ("requested_by_customer", "duplicate", "fraudulent")  # https://docs.stripe.com/api/refunds/create


class NotRefundableError(Exception):
    """Raised when less is left to refund than requested, or when Stripe refuses the refund.

    `remaining` is what is left, in minor units; `code` is Stripe's error code, or "" if Stripe wasn't asked.
    """

    def __init__(self, remaining: int, code: str = "") -> None:
        super().__init__(code or f"{remaining} minor units remain")
        self.remaining = remaining
        self.code = code


def was_requested(payment: Payment, key: str) -> bool:
    """Return whether a refund with this `key` is recorded for the payment."""
    return payment.facts.filter(stripe_id=f"{REQUEST_PREFIX}{key}").exists()


def reserve(
    row: Payment, amount: int, reason: str, actor: AbstractUser | None, key: str, *, waives: int
) -> list[StripeFact]:
    """Record a pending refund in the ledger; return one request to Stripe for each attempt to pay that is refunded.

    The caller must have locked the payment `row`, so that two clicks never refund the same money, and must pass each
    request to `send` after the commit. The list is empty if `key` was used before. Raises NotRefundableError if less
    than `amount` minor units is left at Stripe. `waives` is how much of the refund the patient no longer owes.
    """
    if was_requested(row, key):
        return []
    attempts = refundable_attempts(row)
    remaining = min(row.refundable, sum(attempt.refundable for attempt in attempts))
    if not 0 < amount <= remaining:
        raise NotRefundableError(remaining)
    requests: list[StripeFact] = []
    for attempt in reversed(attempts):
        part = min(amount, attempt.refundable)
        if part:
            name = f"{key}_{len(requests)}" if requests else key
            waived = min(part, waives)
            requests.append(_request_fact(attempt, part, name, {"reason": reason, "waives": waived}))
            amount, waives = amount - part, waives - waived
    ledger.record(requests, Cause(Source.REFUND, actor=actor))
    return requests


def refundable_attempts(payment: Payment) -> list[Attempt]:
    """Return the attempts in the payment's currency of which Stripe can refund something, oldest first."""
    attempts = attempts_of(row.value for row in payment.facts.all())
    return [attempt for attempt in attempts if attempt.refundable and attempt.currency == payment.currency]


def _request_fact(attempt: Attempt, amount: int, name: str, details: Json) -> StripeFact:
    paid, now = attempt.evidence[0], int(time.time())
    return StripeFact(
        kind=Kind.REFUND,
        stripe_id=f"{REQUEST_PREFIX}{name}",
        status="pending",
        as_of=now,
        created=now,
        amount=amount,
        currency=paid.currency,
        livemode=paid.livemode,
        payment_intent_id=paid.payment_intent_id,
        attempt=paid.attempt,
        details=details,
    )


def send(payment: Payment, request: StripeFact, actor: AbstractUser | None, *, if_refused: str = "canceled") -> None:
    """Send the refund `request`, which `reserve` has stored, to Stripe for the first time, and record Stripe's answer.

    A request that Stripe refuses gets the status `if_refused`: "canceled" if a person is waiting for the answer, or
    "failed", which staff have to review. Raises NotRefundableError when Stripe refuses, and StripeUnavailableError when
    Stripe doesn't answer.
    """
    params: Any = {
        "payment_intent": request.payment_intent_id,
        "amount": request.amount,
        "metadata": metadata_of(payment, refund_request=request.stripe_id),
    }
    if (reason := request.details.get("reason")) in REASONS:
        params["reason"] = reason
    try:
        answer, as_of = call(lambda stripe: stripe.v1.refunds.create(params, {"idempotency_key": request.stripe_id}))
    except StripeRefusedError as error:
        logger.warning("refund_refused", extra=_named(payment, request) | {"code": error.code})
        made = _withdraw(replace(request, status=if_refused, as_of=int(time.time())), actor)
        if not made and error.code != "charge_already_refunded":  # with this code, the money has been returned already
            payment.refresh_from_db()
            raise NotRefundableError(payment.refundable, error.code) from error
        return
    except StripeUnavailableError as error:
        logger.warning("refund_unknown", extra=_named(payment, request) | {"code": str(error)})
        raise
    ledger.record(understood(answer, as_of), Cause(Source.REFUND, actor=actor))


def send_again(payment: Payment, request: StripeFact, actor: AbstractUser | None) -> None:
    """Settle a refund request that has no answer: record the refund that Stripe made for it, or else send it again.

    The idempotency key alone would not prevent a second refund, because Stripe forgets it after a day. Nothing is sent
    if Stripe's refunds can't be read. Raises NotRefundableError, StripeUnavailableError and StripeRefusedError.
    """
    if made := refund_made_for(request):
        ledger.record(made, Cause(Source.SWEEP))
    else:
        send(payment, request, actor, if_refused="failed")


def _named(payment: Payment, request: StripeFact) -> dict[str, str]:
    return {"payment_id": str(payment.public_id), "refund_request": request.stripe_id}


def _withdraw(refused: StripeFact, actor: AbstractUser | None) -> bool:
    """Record a refund request that Stripe refused, and what Stripe says of the request's PaymentIntent.

    Return whether Stripe has nevertheless made this refund, when the request was sent before. If Stripe can't be asked,
    only the refused request is recorded.
    """
    reading = Reading()
    with contextlib.suppress(StripeRefusedError, StripeUnavailableError):
        reading = everything_about(refused.payment_intent_id)
        reading.settle()
    ledger.record([refused, *reading.facts], Cause(Source.REFUND, actor=actor))
    return any(fact.details.get("request") == refused.stripe_id for fact in reading.facts)
