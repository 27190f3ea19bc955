from functools import partial
from typing import Any

from django.apps import AppConfig, apps
from django.core.exceptions import ImproperlyConfigured
from django.db import transaction
from django.db.models.signals import post_migrate
from django.utils.module_loading import import_string
from django.utils.translation import gettext_lazy as _
from prometheus_client import REGISTRY

from .conf import app_settings


class PaymentsConfig(AppConfig):
    name = "payments"
    label = "clinic_payments"  # django-payments has the label "payments"
    verbose_name = _("payments")
    default_auto_field = "django.db.models.BigAutoField"

    def import_models(self) -> None:
        """Import the models as Django does, but first name the apps that they need and that aren't installed."""
        for name in ("people", "appointments", "djstripe"):
            if not apps.is_installed(name):
                raise ImproperlyConfigured(f'The app {name} is not installed. Add "{name}" to INSTALLED_APPS.')
        super().import_models()

    def ready(self) -> None:
        from appointments.signals import appointment_checked, appointments_saved, practitioner_renamed
        from people.signals import person_renamed

        from . import checks as checks
        from . import gauges, jobs
        from . import project_checks as project_checks
        from .desk import roles
        from .gateway import client, djstripe
        from .models.closing import make_head
        from .models.closing_triggers import prepare_triggers
        from .models.installation import make_installation
        from .signals import changes_sent, entries_committed, sms_requested

        appointment_checked.connect(check_currency, dispatch_uid="payments.check_currency")
        appointments_saved.connect(bill, dispatch_uid="payments.bill")
        practitioner_renamed.connect(show_practitioner, dispatch_uid="payments.show_practitioner")
        person_renamed.connect(show_person, dispatch_uid="payments.show_person")
        changes_sent.connect(prepare, dispatch_uid="payments.prepare")
        entries_committed.connect(push, dispatch_uid="payments.push")
        if app_settings.CLINIC_SMS_FUNCTION:
            sms_requested.connect(send_sms, dispatch_uid="payments.send_sms")
        post_migrate.connect(make_installation, sender=self, dispatch_uid="payments.installation")
        post_migrate.connect(make_head, sender=self, dispatch_uid="payments.closing_head")
        post_migrate.connect(jobs.make_rows, sender=self, dispatch_uid="payments.jobs")
        post_migrate.connect(prepare_triggers, sender=self, dispatch_uid="payments.closing_triggers")
        post_migrate.connect(roles.make_groups, sender=self, dispatch_uid="payments.roles")
        REGISTRY.register(gauges.Gauges())
        client.limit_module_calls()
        djstripe.restrict_actions()
        if not djstripe.disconnect_receivers():
            raise ImproperlyConfigured(
                "dj-stripe's receivers were not found where expected, so webhooks would call Stripe's API in their"
                " transaction. This version of dj-stripe is not supported: see payments/gateway/djstripe.py."
            )


def check_currency(sender: type, *, appointment: Any, **kwargs: Any) -> None:
    """Receive `appointment_checked`, before a save: refuse a new currency if money has moved in the old one."""
    from . import bookings

    bookings.check_currency(appointment)


def bill(sender: type, *, saved: Any, actor: Any, **kwargs: Any) -> None:
    """Receive the signal `appointments_saved`: create or update the appointments' payments in its transaction.

    After the commit, expire at Stripe the payments' Checkout Sessions that are no longer needed.
    """
    from . import bookings
    from .gateway import checkout

    payments = bookings.follow_appointments(saved, actor)
    transaction.on_commit(partial(checkout.expire_superfluous, payments), robust=True)


def show_practitioner(sender: type, *, practitioner: Any, **kwargs: Any) -> None:
    """Receive `practitioner_renamed`, and make open pages with this practitioner's appointments load again."""
    from .live import feeds

    feeds.reload_pages(practitioner.appointments.all())


def show_person(sender: type, *, user: Any, **kwargs: Any) -> None:
    """Receive `person_renamed`, and make open pages with this patient's appointments load again."""
    from .live import feeds

    feeds.reload_pages(user.appointments.all())


def prepare(sender: type, *, changes: Any, **kwargs: Any) -> None:
    """Receive the signal `changes_sent`: render the changes for this process's open pages while the database works."""
    from .live import hub

    for each in hub.running():
        each.prepare(changes)


def push(sender: type, *, entries: Any, **kwargs: Any) -> None:
    """Receive the signal `entries_committed`: tell all web processes about the new feed `entries`.

    A feed is the numbered list of changes that pages follow. The signal comes after the commit.
    """
    from .live import hints

    hints.publish(entries)


def send_sms(sender: type, *, phone: str, text: str, **kwargs: Any) -> None:
    """Receive `sms_requested`, and call the function that the setting CLINIC_SMS_FUNCTION names."""
    import_string(app_settings.CLINIC_SMS_FUNCTION)(phone, text)
