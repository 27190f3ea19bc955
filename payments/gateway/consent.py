"""What patients agree to before Stripe keeps their card, in words, and the record of it."""

from dataclasses import replace

from django.utils import timezone, translation
from django.utils.formats import date_format
from django.utils.translation import gettext as _

from appointments.money import format_amount

from ..conf import app_settings
from ..domain.facts import Kind, StripeFact
from ..models import Payment

VERSION = "1"  # count up whenever the text below, or a translation of it, changes


def words_of(payment: Payment, language: str) -> str:
    """Return what may be charged to the patient's card, at most how much, and when, in this language."""
    with translation.override(language):
        text = _(
            "I agree that %(clinic)s has Stripe keep my card, and may charge it at most %(amount)s in all, only if I"
            " don’t come to my appointment on %(day)s or cancel it too late. I can have the card removed at any time."
        )
        return text % {
            "clinic": app_settings.CLINIC_NAME,
            "amount": format_amount(payment.booking["no_show_fee"], payment.currency),
            "day": date_format(timezone.localtime(payment.appointment.start), "DATE_FORMAT"),
        }


def consent_to(payment: Payment, attempt: str, language: str) -> StripeFact:
    """Return a fact (an entry of this site) that records what the patient agrees to in the attempt of this name.

    It counts only once Stripe keeps the card that the patient leaves in that attempt.
    """
    amount, words = payment.booking["no_show_fee"], words_of(payment, language)
    details = {"text": words, "version": VERSION, "language": language}
    agreed = payment.own_fact(Kind.CONSENT, f"consent_{attempt}", "agreed", amount, **details)
    return replace(agreed, attempt=attempt)
