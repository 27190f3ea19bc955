"""Queues e-mails that ask patients to pay: those that staff send, and one reminder after the appointment.

`manage.py send_emails` decides again when it sends them, because a patient may have paid meanwhile.
"""

import datetime

from django.contrib.auth.models import AbstractUser
from django.db import transaction
from django.db.models import Exists, OuterRef
from django.utils import timezone

from appointments.models import Appointment

from ..conf import app_settings
from ..models import Email, Installation, PayLink, Payment

STALE = datetime.timedelta(days=3)  # what is later than this, as after a long outage of the worker, gets no e-mail
REMINDED = (Appointment.Status.BOOKED, Appointment.Status.COMPLETED)  # about the others staff decide


def ask(payment: Payment, number: int, actor: AbstractUser) -> bool:
    """Queue an e-mail with a pay link to the payment's patient, and return whether that was done.

    `number` is how many such e-mails the member of staff `actor` knew of. So a form that is sent twice queues one
    e-mail. Nothing is queued either if nothing can be paid online, or if the patient has no address.
    """
    with transaction.atomic():
        row = Payment.objects.locked().get(pk=payment.pk)
        earlier = Email.objects.filter(kind=Email.Kind.PAY_LINK, payment=row, start=row.appointment.start)
        waiting = earlier.unsent().exists()
        if waiting or earlier.count() != number or not row.payable_online or not row.appointment.patient.email:
            return False
        _queue(row, Email.Kind.PAY_LINK, number, actor)
    return True


def queue_reminders() -> list[Email]:
    """Queue a reminder for each payment whose appointment began PAYMENT_REMINDER_DAYS ago, and return the reminders.

    There is one for each payment and start. A reminder that is late by more than STALE, as when the setting has just
    been switched on, is left out; so is one that was due before a backup was restored, because it may have been sent.
    """
    if not app_settings.CLINIC_PAYMENT_REMINDER_DAYS:
        return []
    pause = datetime.timedelta(days=app_settings.CLINIC_PAYMENT_REMINDER_DAYS)
    latest = timezone.now() - pause
    earliest = latest - STALE
    if sent_until := Installation.objects.get().emails_sent_until:
        earliest = max(earliest, sent_until - pause)
    reminded = Email.objects.filter(
        kind=Email.Kind.REMINDER, payment=OuterRef("pk"), start=OuterRef("appointment__start")
    )
    owing = Payment.objects.filter(
        payable=True,
        amount_owed__gt=0,
        appointment__start__gt=earliest,
        appointment__start__lte=latest,
        appointment__status__in=REMINDED,
    )
    due = owing.exclude(appointment__patient__email="").exclude(Exists(reminded))
    return [email for payment in due.order_by("pk") if (email := _remind(payment))]


def _remind(payment: Payment) -> Email | None:
    """Queue a reminder unless another process has just done so, or nothing can be paid online any more."""
    with transaction.atomic():
        row = Payment.objects.locked().get(pk=payment.pk)
        reminded = Email.objects.filter(kind=Email.Kind.REMINDER, payment=row, start=row.appointment.start)
        if reminded.exists() or not row.payable_online:
            return None
        return _queue(row, Email.Kind.REMINDER)


def _queue(payment: Payment, kind: Email.Kind, number: int = 0, actor: AbstractUser | None = None) -> Email:
    link = PayLink.objects.offer(payment, PayLink.Channel.EMAIL, actor)
    start, amount = payment.appointment.start, payment.to_ask
    return Email.objects.create(payment=payment, pay_link=link, kind=kind, start=start, number=number, amount=amount)


def reason_against(email: Email) -> str:
    """Return why an e-mail must not be sent any more, or "" if it can be sent.

    An e-mail that asks for a payment is only sent if `email.payment`, as it is now, is still to be paid, for the
    appointment at the time and through the link that the e-mail was queued with.
    """
    if email.kind not in Email.ASKING or email.pay_link is None:
        return ""
    payment, link = email.payment, email.pay_link
    link.payment = payment
    if not payment.payable_online:
        return "nothing_to_pay_online"
    if payment.appointment.start != email.start:
        return "moved"
    if email.kind == Email.Kind.REMINDER and payment.appointment.status not in REMINDED:
        return payment.appointment.status
    canceled = payment.changes.filter(created_at__gt=email.created_at, booking__attendance="canceled")
    if payment.terms.canceled and canceled.exists():
        return "canceled"
    return "" if link.is_usable else "link_ended"
