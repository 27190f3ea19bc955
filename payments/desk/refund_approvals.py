"""Refunds that need two people: one person requests the refund, and it goes to Stripe after another one approves it."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from django.contrib.auth.models import AbstractUser
from django.db import transaction

from .. import ledger
from ..domain.facts import Kind, StripeFact
from ..ledger import Cause, Source
from ..models import Fact, Payment
from . import refund_orders
from .refund_limits import require_within_limit
from .refund_orders import Order

WAITING, APPROVED, DECLINED = "awaiting_approval", "approved", "declined"


class OwnRefundError(Exception):
    """Raised when a person tries to approve a refund that they requested."""


@dataclass(frozen=True, slots=True)
class RefundRequest:
    """A requested refund that waits for approval. `amount` is in minor units of the payment's currency."""

    fact: Fact

    @property
    def key(self) -> str:
        return self.fact.stripe_id.removeprefix("approval_")

    @property
    def order(self) -> Order:
        return Order.of(self.fact.details["order"])

    @property
    def requester(self) -> AbstractUser | None:
        return self.fact.actor


def waiting(payment: Payment) -> list[RefundRequest]:
    """Return the payment's refund requests that wait for approval, oldest first."""
    facts = payment.facts.filter(kind=Kind.OBSERVATION, status=WAITING).select_related("actor")
    return [RefundRequest(fact) for fact in facts]


def is_waiting(payment: Payment, key: str) -> bool:
    """Return whether the refund request `key` still waits for a decision."""
    return any(each.key == key for each in waiting(payment))


def request(row: Payment, order: Order, actor: AbstractUser, key: str) -> None:
    """Record on the payment, whose locked row is `row`, that `actor` asks for approval of this refund."""
    fact = row.own_fact(Kind.OBSERVATION, f"approval_{key}", WAITING, order.amount, order=order.details)
    ledger.record([fact], Cause(Source.REFUND, actor=actor))


def approve(payment: Payment, key: str, actor: AbstractUser) -> None:
    """Approve the refund request `key` and give the money back, only once even if several people approve it.

    Raises OwnRefundError when `actor` made the request, and OverLimitError when `actor` may not refund so much; the
    request then keeps waiting. Also raises NotRefundableError and StripeUnavailableError, as `give_back` does.
    """
    requests: Sequence[StripeFact] = []
    with transaction.atomic():
        row, waiting_request = _locked(payment, key)
        if waiting_request is None:
            return
        if waiting_request.fact.actor_id == actor.pk:
            raise OwnRefundError
        require_within_limit(actor, row, waiting_request.order.amount)
        requests = refund_orders.reserve(row, waiting_request.order, actor, key)
        _settle(waiting_request, APPROVED, actor)
    refund_orders.send(payment, requests, actor)


def decline(payment: Payment, key: str, actor: AbstractUser) -> None:
    """Close the refund request `key` without a refund. `actor` may be the requester, who then withdraws the request."""
    with transaction.atomic():
        _, waiting_request = _locked(payment, key)
        if waiting_request is not None:
            _settle(waiting_request, DECLINED, actor)


def _locked(payment: Payment, key: str) -> tuple[Payment, RefundRequest | None]:
    """Lock the payment; return it and its refund request `key`, or it and None if no such refund request is waiting."""
    row = Payment.objects.locked().get(pk=payment.pk)
    return row, next((each for each in waiting(row) if each.key == key), None)


def _settle(waiting_request: RefundRequest, status: str, actor: AbstractUser) -> None:
    decided = replace(waiting_request.fact.value, status=status, as_of=int(time.time()))
    ledger.record([decided], Cause(Source.REFUND, actor=actor))
