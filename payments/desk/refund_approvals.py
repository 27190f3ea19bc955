"""Refunds that take two people: one asks, another with the right to it approves, and only then does Stripe hear."""

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
    """Nobody approves what they asked for themself."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A refund that waits. `amount` is in minor units of the payment's currency."""

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
    """Whether this much more would bring what was given back above what one person may decide alone."""
    alone = settings.REFUND_APPROVAL_LIMITS.get(payment.currency)
    return alone is not None and payment.amount_refunded + payment.amount_refund_pending + amount > alone


def waiting(payment: Payment) -> list[Asked]:
    """Oldest first."""
    facts = payment.facts.filter(kind=Kind.OBSERVATION, status=WAITING).select_related("actor")
    return [Asked(fact) for fact in facts]


def ask(payment: Payment, amount: int, reason: str, actor: AbstractUser, key: str) -> None:
    """Record that somebody asks for a refund; the same `key` again records nothing more."""
    wish = payment.own_fact(Kind.OBSERVATION, f"approval_{key}", WAITING, amount, reason=reason)
    ledger.record([wish], Cause(Source.REFUND, actor=actor))


def approve(payment: Payment, key: str, actor: AbstractUser) -> None:
    """Refund what was asked for, once, whoever else approves at the same moment.

    Raises OwnRefundError, and what `refunds.refund` raises: NotRefundableError leaves it waiting.
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
    """Give nothing back. Whoever asked may do so too: they changed their mind."""
    with transaction.atomic():
        _, asked = _locked(payment, key)
        if asked is not None:
            _settle(asked, DECLINED, actor)


def _locked(payment: Payment, key: str) -> tuple[Payment, Asked | None]:
    row = Payment.objects.locked().get(pk=payment.pk)
    return row, next((asked for asked in waiting(row) if asked.key == key), None)


def _settle(asked: Asked, status: str, actor: AbstractUser) -> None:
    decided = replace(asked.fact.value, status=status, as_of=int(time.time()))
    ledger.record([decided], Cause(Source.REFUND, actor=actor))
