"""Erases a person's data but keeps the money record: amounts, statuses, times and Stripe's ids."""

from typing import Any

from django.contrib.admin.models import LogEntry
from django.contrib.auth import get_user_model
from django.contrib.contenttypes.models import ContentType
from django.contrib.sessions.models import Session
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from appointments.models import Appointment
from people import sign_in
from people.models import PatientFields

from .domain.cards import CardState
from .domain.facts import Kind
from .gateway import payers
from .models import Correspondent, Customer, EventReceipt, Fact, Note, PayLink, Payment

PERSONAL = ("first_name", "last_name", "email", "phone", "preferred_language")  # fields of the user model


class NotErasableError(Exception):
    """Raised when a person can't be erased yet; the message says why."""


def reason_against(user: PatientFields) -> str:
    """Return why this user can't be erased yet, such as "has 2 appointments to come", or "" if nothing prevents it.

    The text continues a sentence that begins with the user's name.
    """
    payments = _payments(user)
    if user.is_staff or user.is_superuser:
        return "is staff: their name stands for what they did. Deactivate the account instead."
    if count := payments.in_progress().count():
        return f"has {count} payments on their way. Wait until they are settled, or run reconcile --fix."
    if count := payments.filter(card=CardState.KEPT).count():
        return f"has {count} cards kept at Stripe. Remove them first."
    if count := Appointment.objects.upcoming().filter(patient=user.pk).exclude(status="canceled").count():
        return f"has {count} appointments to come. Cancel them first."
    return ""


def erase(user: PatientFields) -> dict[str, int]:
    """Erase the user's personal data, and return how many rows were changed, by kind of row.

    Personal data are the name, birth date, e-mail address, phone, password, second factors, login sessions, the notes,
    the services booked, and what dj-stripe's tables say about the payer. Backups, sent e-mails and Stripe's own
    records are not changed. Raises NotErasableError when the user is staff, or has payments in progress or appointments
    to come.
    """
    if reason := reason_against(user):
        raise NotErasableError(reason)
    with transaction.atomic():
        payments = _payments(user)
        appointments = Appointment.objects.filter(patient=user.pk)
        done = {
            "payments made anonymous": payments.count(),
            "copies of Stripe's objects": payers.forget_payers(_known_ids(payments)),
            "cards": _forget_cards(payments),
            "notes": Note.objects.filter(payment__in=payments).update(text="–"),
            "services": appointments.exclude(service="").update(service="–"),
            "log lines": _forget_log_lines(user, appointments),
            "sessions": _sign_out(user),
        }
        PayLink.objects.filter(payment__in=payments).update(ended_because=PayLink.Ending.STAFF, ended_at=timezone.now())
        Correspondent.objects.filter(user=user.pk).delete()
        _forget_login(user)
    return done


def _payments(user: PatientFields) -> Any:
    return Payment.objects.filter(appointment__patient=user.pk)


def _forget_cards(payments: "QuerySet[Payment]") -> int:
    """Forget the last digits of the payments' cards; return how many cards there were."""
    cards = Fact.objects.filter(payment__in=payments, kind=Kind.CARD)
    for card in cards:
        details = {name: value for name, value in card.details.items() if name != "last4"}
        Fact.objects.filter(pk=card.pk).update(details=details)
    payments.update(card_last4="")
    return cards.count()


def _known_ids(payments: "QuerySet[Payment]") -> set[str]:
    """Return all ids by which other tables may refer to these payments.

    These are the ids of the payments' Stripe objects, customers and events, and the payments' public ids.
    """
    facts = Fact.objects.filter(payment__in=payments)
    events = EventReceipt.objects.filter(payment__in=payments).values_list("stripe_event_id", flat=True)
    rows = facts.values_list("stripe_id", "payment_intent_id", "charge_id")
    customers = Customer.objects.filter(patient__appointments__payment__in=payments)
    ours = {str(public_id) for public_id in payments.values_list("public_id", flat=True)}
    ours |= set(customers.values_list("stripe_customer_id", flat=True))
    return {each for row in rows for each in row if each} | set(events) | ours


def _forget_log_lines(user: PatientFields, appointments: "QuerySet[Appointment]") -> int:
    """Blank the name in Django admin's log entries about the user or their appointments; return how many entries."""
    of_user, of_appointment = ContentType.objects.get_for_models(get_user_model(), Appointment).values()
    lines = LogEntry.objects.filter(content_type=of_user, object_id=str(user.pk))
    numbers = [str(pk) for pk in appointments.values_list("pk", flat=True)]
    lines |= LogEntry.objects.filter(content_type=of_appointment, object_id__in=numbers)
    return lines.update(object_repr="–")


def _sign_out(user: PatientFields) -> int:
    """Delete the user's login sessions and return how many there were."""
    mine = [row.pk for row in Session.objects.iterator() if row.get_decoded().get("_auth_user_id") == str(user.pk)]
    Session.objects.filter(pk__in=mine).delete()
    return len(mine)


def _forget_login(user: PatientFields) -> None:
    """Delete what is stored about how the user signs in, and blank and deactivate the user's row.

    The row itself stays, because appointments refer to it.
    """
    sign_in.current().forget(user)
    user.username = f"erased-{user.pk}"
    for name in PERSONAL:
        setattr(user, name, "")
    user.birth_date = None
    user.is_active = False
    user.set_unusable_password()
    user.save()
