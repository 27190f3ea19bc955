"""Groups of staff, their permissions, and how much each person may refund."""

from typing import Any

from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser, Group, Permission, PermissionsMixin

from ..models import Payment

APPS = ("clinic_payments", "clinic_appointments", "clinic_accounts")
MONEY = ["refund_payment", "refund_any_amount", "export_payments", "replay_event", "view_operations"]
GROUPS = {
    "front desk": ["refund_payment"],
    "accountant": MONEY,
    "manager": [
        *MONEY,
        *("add_appointment", "change_appointment", "view_appointment"),
        *("add_practitioner", "change_practitioner", "view_practitioner"),
        *("view_payment", "view_fact", "view_statuschange", "view_eventreceipt", "view_feed"),
        *("view_email", "view_note", "view_recordview"),
        *("add_user", "change_user", "view_user"),
    ],
}


def make_groups(**kwargs: Any) -> None:
    """Create missing groups after a migration; existing groups keep the permissions that a manager gave them."""
    for name, codenames in GROUPS.items():
        group, created = Group.objects.get_or_create(name=name)
        if created:
            ours = Permission.objects.filter(content_type__app_label__in=APPS)
            group.permissions.set(ours.filter(codename__in=codenames))


def refund_limit(user: AbstractBaseUser | AnonymousUser | PermissionsMixin, payment: Payment) -> int:
    """Return the highest total, in minor units, that the user may refund of this payment; 0 if none."""
    if not isinstance(user, PermissionsMixin) or not user.has_perm("clinic_payments.refund_payment"):
        return 0
    if user.has_perm("clinic_payments.refund_any_amount"):
        return payment.amount_received
    return min(settings.FRONT_DESK_REFUND_LIMITS.get(payment.currency, 0), payment.amount_received)
