"""Composes the e-mails about payments, each in its patient's language."""

from django.conf import settings
from django.contrib.auth.models import AbstractUser
from django.core.mail import EmailMultiAlternatives
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.translation import gettext_lazy as _
from django.utils.translation import override

from appointments.money import format_amount

from ..models import Correspondent, Email
from .report import name_of

Kind = Email.Kind

# A locked phone shows the subject, so a subject holds only the topic and the appointment's random reference.
SUBJECTS = {
    Kind.RECEIPT: _("Your receipt"),
    Kind.REFUND: _("Your refund"),
    Kind.DEBIT_FAILED: _("Your direct debit did not go through"),
    Kind.TAKEN_BACK: _("Your bank took a payment back"),
}
WORDS = {
    Kind.RECEIPT: _("We received %(amount)s. Thank you."),
    Kind.REFUND: _("We have refunded %(amount)s to you. Your bank may take 5 to 10 working days to show it."),
    Kind.TAKEN_BACK: _("Your bank has taken back %(amount)s that you had paid. Please contact the front desk."),
    Kind.DEBIT_FAILED: _(
        "The direct debit of %(amount)s did not go through, and you have not been charged. Please pay again."
    ),
}


def remember_language(user: AbstractUser, language: str) -> None:
    """Store `language`, in which the user saw the page when paying, for later e-mails to the user."""
    Correspondent.objects.update_or_create(user_id=user.pk, defaults={"language": language})


def language_of(user: AbstractUser) -> str:
    """Return the language for e-mails to `user`: the one that they prefer, if they chose one in their account.

    Otherwise it is the language of the page on which they last paid or, if that isn't known, the site's default.
    """
    if preferred := getattr(user, "preferred_language", ""):
        return str(preferred)
    found = Correspondent.objects.filter(user=user.pk).values_list("language", flat=True).first()
    return found if found in dict(settings.LANGUAGES) else settings.LANGUAGE_CODE


def message_of(email: Email, connection: object = None) -> EmailMultiAlternatives:
    """Return the message to send for `email`, in the patient's language.

    The message names no patient, practitioner or service, because other people may read it.
    """
    change, payment = email.change, email.change.payment
    patient = payment.appointment.patient
    paid = email.kind != Kind.DEBIT_FAILED
    path = (
        reverse("clinic:receipt", args=[payment.public_id])
        if paid
        else reverse("clinic:appointment", args=[_reference(email)])
    )
    with override(language_of(patient)):
        context = {
            "words": str(WORDS[Kind(email.kind)]) % {"amount": format_amount(email.amount, payment.currency)},
            "subject": SUBJECTS[Kind(email.kind)],
            "paid": paid,
            "amounts": change.standing["amounts"],
            "payment": payment,
            "link": settings.SITE_URL + path,
            "clinic_name": settings.CLINIC_NAME,
            "clinic_address": settings.CLINIC_ADDRESS,
            "real_money": settings.STRIPE_LIVE_MODE,
        }
        message = EmailMultiAlternatives(
            f"{SUBJECTS[Kind(email.kind)]} · {_reference(email)}",
            render_to_string("emails/payment.txt", context),
            to=[patient.email],
            headers={"Message-ID": _message_id(email), "Auto-Submitted": "auto-generated"},
            connection=connection,
        )
        message.attach_alternative(render_to_string("emails/payment.html", context), "text/html")
    return message


def _reference(email: Email) -> str:
    return email.change.payment.appointment.reference


def _message_id(email: Email) -> str:
    """Return a Message-ID that changes neither between retries nor after a restore of the database.

    Mail programs then show a repeated e-mail once.
    """
    host = settings.SITE_URL.split("//")[-1].split(":")[0]
    return f"<{name_of(email.change)}@{host}>"
