"""Composes the e-mails about payments, each in its patient's language."""

from typing import Any

from django.conf import settings
from django.contrib.auth.models import AbstractUser
from django.core.mail import EmailMultiAlternatives
from django.template.loader import render_to_string
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext_lazy as _
from django.utils.translation import override

from appointments.money import format_amount

from ..addresses import absolute
from ..conf import app_settings
from ..models import Correspondent, Email, PayLink, Payment
from ..receipts import receipt_of
from .report import name_of

Kind = Email.Kind

# A locked phone shows the subject, so a subject holds only the topic and the appointment's random reference.
SUBJECTS = {
    Kind.RECEIPT: _("Your receipt"),
    Kind.REFUND: _("Your refund"),
    Kind.DEBIT_FAILED: _("Your direct debit did not go through"),
    Kind.TAKEN_BACK: _("Your bank took a payment back"),
    Kind.PAY_LINK: _("Payment for your appointment"),
    Kind.REMINDER: _("Reminder: payment for your appointment"),
}
WORDS = {
    Kind.RECEIPT: _("We received %(amount)s. Thank you."),
    Kind.REFUND: _("We have refunded %(amount)s to you. Your bank may take 5 to 10 working days to show it."),
    Kind.TAKEN_BACK: _("Your bank has taken back %(amount)s that you had paid. Please contact the front desk."),
    Kind.DEBIT_FAILED: _("The direct debit of %(amount)s did not go through, and you have not been charged."),
    Kind.PAY_LINK: _("You can pay %(asked)s for your appointment on %(day)s online. You need no account."),
    Kind.REMINDER: _(
        "%(asked)s is still to be paid for your appointment on %(day)s. You can pay online, without an account, or at"
        " the front desk. If you paid in the last few days, please disregard this message."
    ),
}
DEPOSIT = _("A deposit of %(asked)s is to be paid for your appointment on %(day)s. You need no account.")
FEE = _("Your appointment on %(day)s is cancelled. A cancellation fee of %(asked)s is due. You need no account.")
PLEASE_PAY = _("Please pay %(asked)s again.")


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

    It says all that the patient needs, so that nobody has to sign in. The subject names neither a person nor a service.
    """
    payment = email.payment
    patient, reports_money = payment.appointment.patient, email.kind in (Kind.RECEIPT, Kind.REFUND, Kind.TAKEN_BACK)
    template = "payments/emails/receipt" if reports_money else "payments/emails/pay_link"
    with override(language_of(patient)):
        context = {
            "subject": SUBJECTS[Kind(email.kind)],
            "words": _words(email),
            "payment": payment,
            "appointment": payment.appointment,
            "clinic_name": app_settings.CLINIC_NAME,
            "clinic_address": app_settings.CLINIC_ADDRESS,
            "clinic_contact": app_settings.CLINIC_CONTACT,
            "site_url": app_settings.CLINIC_SITE_URL,
            "real_money": app_settings.STRIPE_LIVE_MODE,
            **(_about_money(payment) if reports_money else _about_paying(email)),
        }
        message = EmailMultiAlternatives(
            f"{SUBJECTS[Kind(email.kind)]} · {payment.appointment.reference}",
            render_to_string(f"{template}.txt", context),
            to=[patient.email],
            headers={"Message-ID": _message_id(email), "Auto-Submitted": "auto-generated"},
            connection=connection,
        )
        message.attach_alternative(render_to_string(f"{template}.html", context), "text/html")
    return message


def _words(email: Email) -> str:
    """Return the sentences that say what the e-mail is about, in the active language."""
    payment = email.payment
    words = str(WORDS[Kind(email.kind)])
    if email.kind in Email.ASKING and payment.terms.canceled:
        words = str(FEE)
    elif email.kind == Kind.PAY_LINK and payment.to_ask < payment.amount_owed:
        words = str(DEPOSIT)
    elif email.kind == Kind.DEBIT_FAILED and payment.payable_online:
        words = f"{words} {PLEASE_PAY}"
    return words % {
        "amount": format_amount(email.amount, payment.currency),
        "asked": format_amount(payment.to_ask, payment.currency),
        "day": date_format(timezone.localtime(payment.appointment.start), "DATE_FORMAT"),
    }


def _about_money(payment: Payment) -> dict[str, Any]:
    """Return the context of an e-mail that carries the receipt. Its link asks people with an account to sign in."""
    link = absolute("clinic:receipt", payment.public_id)
    return {"receipt": receipt_of(payment), "link": link}


def _about_paying(email: Email) -> dict[str, Any]:
    """Return the context of an e-mail that asks for a payment; without a link if nothing can be paid online now."""
    link = email.pay_link
    if email.kind == Kind.DEBIT_FAILED and email.payment.payable_online:
        link = PayLink.objects.offer(email.payment, PayLink.Channel.EMAIL)
    return {"link": link.url, "until": link.expires_at} if link else {}


def _message_id(email: Email) -> str:
    """Return a Message-ID that changes neither between retries nor after a restore of the database.

    Mail programs then show a repeated e-mail once.
    """
    host = app_settings.CLINIC_SITE_URL.split("//")[-1].split(":")[0]
    if email.change:
        return f"<{name_of(email.change)}@{host}>"
    start = int(email.start.timestamp()) if email.start else 0
    return f"<{email.payment.public_id}.{email.kind}.{start}.{email.number}@{host}>"
