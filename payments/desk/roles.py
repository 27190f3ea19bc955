"""Groups of staff and their permissions."""

from typing import Any

from django.apps import apps as installed_apps
from django.contrib.auth import get_permission_codename, get_user_model
from django.contrib.auth.management import create_permissions
from django.contrib.auth.models import Group, Permission
from django.utils.translation import gettext_noop as _

APPS = ("clinic_payments", "clinic_appointments")
MONEY = [
    *("refund_payment", "refund_any_amount", "close_day", "export_payments", "replay_event", "view_operations"),
    "view_transfers",
]
ON_USERS = {"manager": ["add", "change", "view"]}  # what groups may do with the user model, whatever its name
GROUPS = {  # by their names in the database, which pages translate
    _("front desk"): ["refund_payment", "close_day"],
    _("accountant"): MONEY,
    _("manager"): [
        *MONEY,
        *("add_appointment", "change_appointment", "view_appointment", "import_appointment"),
        *("add_practitioner", "change_practitioner", "view_practitioner"),
        *("add_service", "change_service", "view_service"),
        *("view_payment", "view_fact", "view_statuschange", "view_eventreceipt", "view_feed"),
        *("view_email", "view_note", "view_recordview", "view_closing"),
    ],
}


def make_groups(**kwargs: Any) -> None:
    """Create the groups that don't exist yet, after each migration. Existing groups keep their permissions.

    Django creates each app's permissions after the migration too, in the order of INSTALLED_APPS; so those that the
    groups need are created first.
    """
    users = get_user_model()._meta
    for label in (*APPS, users.app_label):
        create_permissions(installed_apps.get_app_config(label), verbosity=0)
    for name, codenames in GROUPS.items():
        group, created = Group.objects.get_or_create(name=name)
        if created:
            ours = Permission.objects.filter(content_type__app_label__in=APPS, codename__in=codenames)
            on_users = [get_permission_codename(action, users) for action in ON_USERS.get(name, ())]
            of_users = Permission.objects.filter(content_type__app_label=users.app_label, codename__in=on_users)
            group.permissions.set([*ours, *of_users])
