"""How much of a payment each member of staff may refund."""

from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser, PermissionsMixin

from ..models import Payment


def refund_limit(user: AbstractBaseUser | AnonymousUser | PermissionsMixin, payment: Payment) -> int:
    """Return how much of this payment the user may refund in total, in minor units; 0 if the user may not refund."""
    if not isinstance(user, PermissionsMixin) or not user.has_perm("clinic_payments.refund_payment"):
        return 0
    if user.has_perm("clinic_payments.refund_any_amount"):
        return payment.amount_received
    return min(settings.FRONT_DESK_REFUND_LIMITS.get(payment.currency, 0), payment.amount_received)
