"""Refunds that take two people: one requests it, another approves it, and only then is Stripe asked to refund."""

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
    """Raised when somebody approves the refund that they requested themself."""


@dataclass(frozen=True, slots=True)
class Asked:
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
    def by(self) -> AbstractUser | None:
        return self.fact.actor


def takes_two(payment: Payment, amount: int) -> bool:
    """Return whether refunding `amount` more needs a second person.

    It does once the payment's refunds together exceed REFUND_APPROVAL_LIMITS. `amount` is in minor units.
    """
    alone = settings.REFUND_APPROVAL_LIMITS.get(payment.currency)
    return alone is not None and payment.amount_refunded + payment.amount_refund_pending + amount > alone


def waiting(payment: Payment) -> list[Asked]:
    """Return the payment's refunds that wait for approval, oldest first."""
    facts = payment.facts.filter(kind=Kind.OBSERVATION, status=WAITING).select_related("actor")
    return [Asked(fact) for fact in facts]


def ask(payment: Payment, amount: int, reason: str, actor: AbstractUser, key: str) -> None:
    """Record that `actor` requests a refund of `amount` minor units; a second call with one `key` changes nothing."""
    wish = payment.own_fact(Kind.OBSERVATION, f"approval_{key}", WAITING, amount, reason=reason)
    ledger.record([wish], Cause(Source.REFUND, actor=actor))


def approve(payment: Payment, key: str, actor: AbstractUser) -> None:
    """Approve the request `key` and send its refund to Stripe, exactly once however many people approve it.

    Raises OwnRefundError when `actor` made the request, NotRefundableError when too little is left (the request then
    keeps waiting) or Stripe refuses, and StripeUnavailableError when Stripe does not answer (the refund then stays
    pending).
    """
    requests: Sequence[StripeFact] = []
    with transaction.atomic():
        row, asked = _locked(payment, key)
        if asked is None:
            return
        if asked.fact.actor_id == actor.pk:
            raise OwnRefundError
        requests = refunds.reserve(row, asked.amount, asked.reason, actor, key)
        _settle(asked, APPROVED, actor)
    for request in requests:
        refunds.send(payment, request, actor)


def decline(payment: Payment, key: str, actor: AbstractUser) -> None:
    """Close the request `key` without a refund. The person who made it may do so as well, to take it back."""
    with transaction.atomic():
        _, asked = _locked(payment, key)
        if asked is not None:
            _settle(asked, DECLINED, actor)


def _locked(payment: Payment, key: str) -> tuple[Payment, Asked | None]:
    """Return the payment, its row locked, and its request `key` if that still waits."""
    row = Payment.objects.locked().get(pk=payment.pk)
    return row, next((asked for asked in waiting(row) if asked.key == key), None)


def _settle(asked: Asked, status: str, actor: AbstractUser) -> None:
    decided = replace(asked.fact.value, status=status, as_of=int(time.time()))
    ledger.record([decided], Cause(Source.REFUND, actor=actor))
