"""Who at the clinic may give money back, how much of it, and who may take lists away."""

from typing import Any

from django.apps import apps
from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser, PermissionsMixin

from ..models import Payment

PERMISSIONS = {
    "refund_payment": "Can refund up to the front desk's limit",
    "refund_any_amount": "Can refund any amount",
    "export_payments": "Can download payments",
    "replay_event": "Can apply an event again",
    "view_operations": "Can see the operations board",
}
GROUPS = {
    "front desk": ["refund_payment"],
    "accountant": ["refund_payment", "refund_any_amount", "export_payments", "replay_event", "view_operations"],
    "manager": [
        *PERMISSIONS,
        *("add_appointment", "change_appointment", "view_appointment"),
        *("add_practitioner", "change_practitioner", "view_practitioner"),
        *("view_payment", "view_fact", "view_statuschange", "view_eventreceipt", "view_feed"),
        *("view_email", "view_note", "view_recordview"),
        *("add_user", "change_user", "view_user"),
    ],
}


def make_groups(**kwargs: Any) -> None:
    """Create groups that are missing, after migrations; groups that are there stay as the manager made them."""
    from django.contrib.auth.management import create_permissions
    from django.contrib.auth.models import Group, Permission
    from django.contrib.contenttypes.models import ContentType

    for label in (
        "clinic_payments",
        "clinic_appointments",
        "clinic_accounts",
    ):  # later apps' own turn comes only after this one
        create_permissions(apps.get_app_config(label), verbosity=0)
    content_type = ContentType.objects.get_for_model(Payment)
    for codename, name in PERMISSIONS.items():
        Permission.objects.get_or_create(content_type=content_type, codename=codename, defaults={"name": name})
    for name, codenames in GROUPS.items():
        group, created = Group.objects.get_or_create(name=name)
        if created:
            group.permissions.set(Permission.objects.filter(codename__in=codenames))


def refund_limit(user: AbstractBaseUser | AnonymousUser | PermissionsMixin, payment: Payment) -> int:
    """How much of this payment the user may have given back in all, in minor units; 0 for no refunds."""
    if not isinstance(user, PermissionsMixin) or not user.has_perm("clinic_payments.refund_payment"):
        return 0
    if user.has_perm("clinic_payments.refund_any_amount"):
        return payment.amount_received
    return min(settings.FRONT_DESK_REFUND_LIMITS.get(payment.currency, 0), payment.amount_received)
