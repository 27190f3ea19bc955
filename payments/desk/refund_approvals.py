"""Refunds that need two people: one person requests the refund, and it goes to Stripe after another one approves it."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from django.conf import settings
from django.contrib.auth.models import AbstractUser
from django.db import transaction

from .. import ledger
from ..domain.facts import Kind, StripeFact
from ..gateway import refunds
from ..ledger import Cause, Source
from ..models import Fact, Payment

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
    def amount(self) -> int:
        return self.fact.amount

    @property
    def reason(self) -> str:
        return str(self.fact.details.get("reason", ""))

    @property
    def requester(self) -> AbstractUser | None:
        return self.fact.actor


def needs_approval(payment: Payment, amount: int) -> bool:
    """Return whether a refund of another `amount` (in minor units) needs a second person's approval.

    Approval is needed if all refunds of the payment together would exceed the currency's REFUND_APPROVAL_LIMITS.
    """
    alone = settings.REFUND_APPROVAL_LIMITS.get(payment.currency)
    return alone is not None and payment.amount_refunded + payment.amount_refund_pending + amount > alone


def waiting(payment: Payment) -> list[RefundRequest]:
    """Return the payment's refund requests that wait for approval, oldest first."""
    facts = payment.facts.filter(kind=Kind.OBSERVATION, status=WAITING).select_related("actor")
    return [RefundRequest(fact) for fact in facts]


def request(payment: Payment, amount: int, reason: str, actor: AbstractUser, key: str) -> None:
    """Record that `actor` requests a refund of `amount` minor units, which then waits for another person's approval.

    A second call with the same `key`, as when a form is sent twice, changes nothing.
    """
    fact = payment.own_fact(Kind.OBSERVATION, f"approval_{key}", WAITING, amount, reason=reason)
    ledger.record([fact], Cause(Source.REFUND, actor=actor))


def approve(payment: Payment, key: str, actor: AbstractUser) -> None:
    """Approve the refund request `key` and send its refund to Stripe, only once even if several people approve it.

    Raises OwnRefundError when `actor` requested the refund. Raises NotRefundableError when too little money is left to
    refund, in which case the refund request keeps waiting, or when Stripe refuses. Raises StripeUnavailableError when
    Stripe does not answer, in which case the refund stays pending.
    """
    refund_facts: Sequence[StripeFact] = []
    with transaction.atomic():
        row, waiting_request = _locked(payment, key)
        if waiting_request is None:
            return
        if waiting_request.fact.actor_id == actor.pk:
            raise OwnRefundError
        refund_facts = refunds.reserve(row, waiting_request.amount, waiting_request.reason, actor, key)
        _settle(waiting_request, APPROVED, actor)
    for fact in refund_facts:
        refunds.send(payment, fact, actor)


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
