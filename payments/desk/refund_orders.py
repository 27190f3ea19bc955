"""Carries out a refund: reserves it on the locked payment, then sends Stripe's part to Stripe.

Nothing here decides who may refund; desk/giving_back.py and desk/refund_approvals.py do.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from django.contrib.auth.models import AbstractUser

from .. import ledger
from ..domain.attempts import attempts_of, desk_refundable
from ..domain.facts import Kind, StripeFact
from ..domain.methods import Method
from ..gateway import refunds
from ..gateway.refunds import NotRefundableError
from ..ledger import Cause, Source
from ..models import Payment

STRIPE, DESK = "stripe", "desk"


@dataclass(frozen=True, slots=True)
class Order:
    """What a member of staff wants to give back. `amount` is in minor units of the payment's currency.

    `through` is STRIPE, or the desk `Method` by which the money is given back. With `still_owed`, the patient has to
    pay the amount again.
    """

    amount: int
    reason: str
    through: str = STRIPE
    still_owed: bool = False

    @classmethod
    def of(cls, stored: Any) -> "Order":
        """Return the order from `stored`, a dict that `details` has made."""
        return cls(**{name: stored[name] for name in ("amount", "reason", "through", "still_owed")})

    @property
    def details(self) -> dict[str, Any]:
        """Return the order as a dict that can be stored as JSON."""
        return asdict(self)


def refundable_through(payment: Payment) -> dict[str, int]:
    """Return how much can be given back through Stripe (STRIPE) and at the desk (DESK), in minor units."""
    at_stripe = sum(attempt.refundable for attempt in refunds.refundable_attempts(payment))
    at_desk = desk_refundable(attempts_of(row.value for row in payment.facts.all()))
    return {STRIPE: min(payment.refundable, at_stripe), DESK: min(payment.refundable, at_desk)}


def waives(payment: Payment, order: Order) -> int:
    """Return how much of the order's amount the patient doesn't have to pay again, in minor units.

    Giving back what was paid too much waives nothing, because that money was never owed.
    """
    return 0 if order.still_owed else max(0, order.amount - payment.to_give_back)


def require_available(payment: Payment, order: Order) -> None:
    """Raise NotRefundableError unless the order's amount is positive and can be given back in the order's way.

    Through Stripe, and at the desk, no more can be given back than what was paid that way and is still there.
    """
    remaining = refundable_through(payment)[STRIPE if order.through == STRIPE else "desk"]
    if not 0 < order.amount <= remaining:
        raise NotRefundableError(remaining)


def was_recorded(payment: Payment, key: str) -> bool:
    """Return whether an order with this key was recorded for the payment, so that it must not be carried out again."""
    names = (f"request_{key}", f"desk_refund_{key}", f"approval_{key}")
    return payment.facts.filter(stripe_id__in=names).exists()


def reserve(row: Payment, order: Order, actor: AbstractUser | None, key: str) -> Sequence[StripeFact]:
    """Record the order on the locked payment `row`; return the refund requests to send to Stripe after the commit.

    An order at the desk is recorded as money given back, and the list is empty. Raises NotRefundableError if less than
    the order's amount is left.
    """
    waived = waives(row, order)
    if order.through == STRIPE:
        return refunds.reserve(row, order.amount, order.reason, actor, key, waives=waived)
    remaining = refundable_through(row)[DESK]
    if not 0 < order.amount <= remaining:
        raise NotRefundableError(remaining)
    details = {"reason": order.reason, "waives": waived}
    given = row.own_fact(Kind.DESK_REFUND, f"desk_refund_{key}", Method(order.through), order.amount, **details)
    ledger.record([given], Cause(Source.DESK, actor=actor))
    return []


def send(payment: Payment, requests: Sequence[StripeFact], actor: AbstractUser | None) -> None:
    """Send each refund request that `reserve` has returned to Stripe; if Stripe refuses one, withdraw the unsent ones.

    Raises NotRefundableError and StripeUnavailableError.
    """
    for number, request in enumerate(requests, start=1):
        try:
            refunds.send(payment, request, actor)
        except NotRefundableError:
            given_up = [replace(other, status="canceled") for other in requests[number:]]
            if given_up:
                ledger.record(given_up, Cause(Source.REFUND, actor=actor))
            raise
