"""Groups of staff and their permissions."""

from typing import Any

from django.contrib.auth.models import Group, Permission

APPS = ("clinic_payments", "clinic_appointments", "clinic_accounts")
MONEY = [
    *("refund_payment", "refund_any_amount", "close_day", "export_payments", "replay_event", "view_operations"),
    "view_transfers",
]
GROUPS = {
    "front desk": ["refund_payment", "close_day"],
    "accountant": MONEY,
    "manager": [
        *MONEY,
        *("add_appointment", "change_appointment", "view_appointment"),
        *("add_practitioner", "change_practitioner", "view_practitioner"),
        *("add_service", "change_service", "view_service"),
        *("view_payment", "view_fact", "view_statuschange", "view_eventreceipt", "view_feed"),
        *("view_email", "view_note", "view_recordview", "view_closing"),
        *("add_user", "change_user", "view_user"),
    ],
}


def make_groups(**kwargs: Any) -> None:
    """Create the groups that don't exist yet, after each migration. Existing groups keep their permissions."""
    for name, codenames in GROUPS.items():
        group, created = Group.objects.get_or_create(name=name)
        if created:
            ours = Permission.objects.filter(content_type__app_label__in=APPS)
            group.permissions.set(ours.filter(codename__in=codenames))
