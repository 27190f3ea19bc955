"""Limits on how much of a payment each member of staff may refund.

If money is to move afterwards, lock the payment before calling these functions, so that their result stays right.
"""

from django.contrib.auth.models import AbstractBaseUser, AnonymousUser, PermissionsMixin

from ..conf import app_settings
from ..models import Payment

User = AbstractBaseUser | AnonymousUser | PermissionsMixin


class OverLimitError(Exception):
    """Raised when a user may not refund so much. `allowed` is what the user may still refund, in minor units."""

    def __init__(self, allowed: int) -> None:
        super().__init__(f"at most {allowed} minor units")
        self.allowed = allowed


def refund_limit(user: User, payment: Payment) -> int:
    """Return how much of this payment may be refunded by the user in total, in minor units; 0 without permission."""
    if not isinstance(user, PermissionsMixin) or not user.has_perm("clinic_payments.refund_payment"):
        return 0
    if user.has_perm("clinic_payments.refund_any_amount"):
        return payment.amount_received
    return min(app_settings.CLINIC_FRONT_DESK_REFUND_LIMITS.get(payment.currency, 0), payment.amount_received)


def allowed_refund(user: User, payment: Payment) -> int:
    """Return how much the user may still refund, in minor units: the limit minus finished and pending refunds."""
    return max(0, refund_limit(user, payment) - payment.amount_refunded - payment.amount_refund_pending)


def allowed_waiver(user: User, payment: Payment) -> int:
    """Return how much of what is owed the user may stop asking for, in minor units.

    The limit is reduced by what the clinic has already stopped asking for, but not by refunds, because no money moves.
    """
    if not isinstance(user, PermissionsMixin) or not user.has_perm("clinic_payments.refund_payment"):
        return 0
    if user.has_perm("clinic_payments.refund_any_amount"):
        return payment.amount_owed
    return max(0, app_settings.CLINIC_FRONT_DESK_REFUND_LIMITS.get(payment.currency, 0) - payment.amount_waived)


def require_within_limit(user: User, payment: Payment, amount: int) -> None:
    """Raise OverLimitError if the user may not refund another `amount` minor units of the locked payment."""
    allowed = allowed_refund(user, payment)
    if amount > allowed:
        raise OverLimitError(allowed)


def needs_approval(payment: Payment, amount: int) -> bool:
    """Return whether a refund of another `amount` (in minor units) needs a second person's approval.

    Approval is needed if all refunds of the payment together would exceed the currency's REFUND_APPROVAL_LIMITS.
    """
    alone = app_settings.CLINIC_REFUND_APPROVAL_LIMITS.get(payment.currency)
    return alone is not None and payment.amount_refunded + payment.amount_refund_pending + amount > alone
