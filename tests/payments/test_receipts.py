"""Tests of what a receipt says: its number, what was paid for, with which card, and every movement."""

from collections.abc import Callable

import pytest
from django.core.management import call_command
from django.test import Client
from django.utils import translation
from pytest_django.fixtures import Settings

from accounts.models import User
from appointments.models import Practitioner
from payments.desk import till
from payments.domain.methods import Method
from payments.erasure import erase
from payments.gateway import djstripe
from payments.models import Payment
from payments.receipts import receipt_of
from tests.payments.clients import text_of
from tests.payments.sandbox import StripeAtHome, open_checkout
from tests.payments.stripe_story import Story, deliver

pytestmark = pytest.mark.django_db


def labels(payment: Payment) -> list[str]:
    return [line.label for line in receipt_of(payment).lines]


def number_of(payment: Payment) -> str:
    payment.refresh_from_db()
    return receipt_of(payment).number


@pytest.fixture
def mirrored(payment: Payment, stripe: StripeAtHome) -> Payment:
    """Return a payment made by card in Checkout, after dj-stripe copied its charge."""
    djstripe.bootstrap()
    stripe.do("pay", session=open_checkout(payment))
    stripe.tell()
    call_command("mirror")
    payment.refresh_from_db()
    return payment


def test_a_receipt_names_the_card_by_brand_and_last_four_digits(mirrored: Payment, stripe: StripeAtHome) -> None:
    for language, words in (("fr", "Paiement · Visa se terminant par 4242"), ("en", "Payment · Visa ending in 4242")):
        with translation.override(language):
            assert labels(mirrored) == [words]
    stripe.do("refund", session=mirrored.facts.get(kind="session").stripe_id, amount=2000)
    stripe.tell()
    mirrored.refresh_from_db()
    assert labels(mirrored)[1] == "Remboursement · Visa se terminant par 4242"


def test_until_the_charge_was_copied_a_receipt_names_the_method(paid: Payment) -> None:
    assert labels(paid) == ["Paiement · Carte"]


def test_an_account_that_was_debited_is_named_too(payment: Payment, stripe: StripeAtHome) -> None:
    djstripe.bootstrap()
    session = open_checkout(payment)
    stripe.do("pay", session=session, outcome="processing")
    stripe.do("settle", session=session)
    stripe.tell()
    call_command("mirror")
    payment.refresh_from_db()
    (label,) = labels(payment)
    assert "Prélèvement SEPA se terminant par " in label


def test_erasing_a_patient_erases_the_digits(mirrored: Payment, patient: User) -> None:
    mirrored.appointment.status = "canceled"
    mirrored.appointment.save()
    erase(patient)
    mirrored.refresh_from_db()
    assert labels(mirrored)[0] == "Paiement · Carte"


def test_a_receipt_has_another_number_whenever_money_has_moved(payment: Payment, story: Story, clerk: User) -> None:
    deliver(story.completed())
    first = number_of(payment)
    assert first == number_of(payment)
    assert first.startswith(f"{payment.appointment.reference}-")
    payment.appointment.status = "completed"
    payment.appointment.save(actor=clerk)
    assert number_of(payment) == first, "an attendance moves no money"
    deliver(story.refund(1000))
    second = number_of(payment)
    deliver(story.refund(1000, "failed"))
    assert len({first, second, number_of(payment)}) == 3, "a number is never used for something else"


def test_a_receipt_shows_what_the_law_and_insurers_want(
    as_patient: Client, payment: Payment, clerk: User, settings: Settings
) -> None:
    settings.CLINIC_LEGAL_LINES, settings.CLINIC_CONTACT = ["SIRET 123", "TVA non applicable"], "04 78 00 00 00"
    Practitioner.objects.update(professional_number="RPPS 10001234567")
    till.take_payment(payment, 2000, Method.CHEQUE, clerk, key="c0ffee")
    page = text_of(as_patient.get(f"/payments/{payment.public_id}/receipt/"))
    number = number_of(payment)
    wanted = (f"n° {number}", "Camille Roux", "Consultation", "Dr Anne Mercier, Dermatology", "RPPS 10001234567",
              "Paiement · Chèque", "Reste à payer 30,00 €", "SIRET 123 TVA non applicable",
              "04 78 00 00 00")  # fmt: skip
    for words in wanted:
        assert words in page, words


def test_money_in_another_currency_is_shown_and_not_added(payment: Payment, story: Story) -> None:
    deliver(story.completed())
    other = Story(payment)
    other.currency = "usd"
    deliver(other.completed("B"))
    payment.refresh_from_db()
    receipt = receipt_of(payment)
    assert {line.currency for line in receipt.lines} == {"eur", "usd"}
    assert receipt.total == 5000


def test_a_receipt_takes_few_queries(
    payment: Payment, story: Story, django_assert_max_num_queries: Callable[..., object]
) -> None:
    deliver(story.completed())
    deliver(story.charged())
    payment.refresh_from_db()
    with django_assert_max_num_queries(4):  # type: ignore[attr-defined]
        receipt_of(payment)
