"""Tests of the texts that describe changes in a payment's timeline."""

import datetime
from collections.abc import Callable

import pytest
from django.template import engines
from django.utils import translation
from pytest_django.fixtures import Settings

from accounts.models import User
from appointments.models import Appointment, Practitioner, Prepayment
from payments.desk import till
from payments.desk.decisions import keep_as_fee
from payments.desk.giving_back import give_back
from payments.desk.refund_orders import Order
from payments.domain.methods import Method
from payments.gateway.reconcile import ask_stripe
from payments.ledger import Source
from payments.models import Payment
from payments.wording import about_the_card, decline_reason, describe, explain
from tests.payments.sandbox import StripeAtHome, open_checkout
from tests.payments.stripe_story import Story, deliver

pytestmark = pytest.mark.django_db


def test_an_appointment_of_which_everything_changed_at_once_was_not_booked_again(payment: Payment) -> None:
    appointment = payment.appointment
    appointment.price_amount = 6000
    appointment.start -= datetime.timedelta(hours=1)
    appointment.practitioner = Practitioner.objects.create(name="Julie Lambert", specialty="Kinésithérapie")
    appointment.status = Appointment.Status.COMPLETED
    appointment.save()
    booked, changed = payment.changes.order_by("version")
    with translation.override("en"):
        assert describe(booked, to_staff=True) == "Appointment booked · €50.00"
        said = describe(changed, to_staff=True).split(" · ")
    assert [said[0], said[2], said[3]] == ["Price changed to €60.00", "Practitioner changed", "Attended"]
    assert said[1].startswith("Moved to ")


def test_a_deposit_is_asked_for_and_thanked_for_by_its_name(payment: Payment, clerk: User) -> None:
    payment.appointment.deposit_amount = 2000
    payment.appointment.save()
    payment.refresh_from_db()
    with translation.override("en"):
        assert explain(payment, to_staff=False).startswith("Pay a deposit of €20.00 now.")
        assert "A deposit of €20.00 is asked for first." in explain(payment, to_staff=True)
        till.take_payment(payment, 2000, Method.CASH, clerk, key="a" * 32)
        payment.refresh_from_db()
        assert explain(payment, to_staff=False) == "Your deposit of €20.00 is paid. €30.00 is left to pay."
        assert explain(payment, to_staff=True) == "The deposit of €20.00 is paid, €30.00 still owed."
        till.take_payment(payment, 500, Method.CASH, clerk, key="b" * 32)
        payment.refresh_from_db()
        assert explain(payment, to_staff=False) == "We received €25.00. €25.00 is left to pay."


def test_a_declined_card_is_explained_whatever_was_paid_before(payment: Payment, clerk: User) -> None:
    payment.appointment.deposit_amount = 2000
    payment.appointment.save()
    for paid in (0, 2000):
        if paid:
            till.take_payment(payment, paid, Method.CASH, clerk, key="a" * 32)
        payment.refresh_from_db()
        payment.attempt, payment.failure_code = "failed", "insufficient_funds"
        with translation.override("en"):
            assert explain(payment, to_staff=False).startswith("There is not enough money on this card.")


@pytest.mark.parametrize(
    ("card", "said"),
    [("4000000000000002", "card was declined, and nothing"), ("4000002760003184", "wants this payment confirmed")],
)
def test_staff_read_how_an_open_payment_page_stands(
    payment: Payment, stripe: StripeAtHome, card: str, said: str
) -> None:
    stripe.do("pay", session=open_checkout(payment), card=card)
    ask_stripe(payment, Source.RECONCILE)
    payment.refresh_from_db()
    with translation.override("en"):
        assert said in explain(payment, to_staff=True)


def test_the_whole_price_is_asked_for_in_advance_until_a_part_is_paid(
    book: Callable[..., Payment], clerk: User
) -> None:
    payment = book(prepayment=Prepayment.PRICE)
    with translation.override("en"):
        assert about_the_card(payment, to_staff=False) == "Please pay the whole price, €50.00, before you come."
        assert "whole price before the appointment" in about_the_card(payment, to_staff=True)
        till.take_payment(payment, 2000, Method.CASH, clerk, key="a" * 32)
        payment.refresh_from_db()
        assert [about_the_card(payment, to_staff=to_staff) for to_staff in (False, True)] == ["", ""]


def test_a_change_that_only_asks_for_a_review_says_just_that(
    payment: Payment, story: Story, clerk: User, settings: Settings
) -> None:
    settings.CLINIC_REFUND_APPROVAL_LIMITS = {"eur": 3000}
    deliver(story.completed())
    give_back(payment, Order(5000, "goodwill"), clerk, key="a" * 32)
    asked = payment.changes.latest("version")
    asked.before = asked.standing["amounts"]  # type: ignore[attr-defined]
    with translation.override("en"):
        assert describe(asked, to_staff=True) == "To review: Refund to approve"
        assert describe(asked, to_staff=False) == "Details updated: Paid"


def test_a_patient_who_paid_too_much_is_told_so(payment: Payment, story: Story, clerk: User) -> None:
    deliver(story.completed("A"))
    deliver(story.completed("B"))
    payment.refresh_from_db()
    with translation.override("en"):
        assert explain(payment, to_staff=False).startswith("We received €100.00, which is €50.00 too much.")
        payment.appointment.status = Appointment.Status.CANCELED
        payment.appointment.save()
        payment.refresh_from_db()
        words = explain(payment, to_staff=False)
        assert words.startswith("This appointment is cancelled, and we have received €100.00 too much.")
        keep_as_fee(payment, clerk)
        payment.refresh_from_db()
        assert explain(payment, to_staff=False) == (
            "This appointment is cancelled. You paid a cancellation fee of €100.00."
        )


def test_a_failed_direct_debit_is_no_declined_card(payment: Payment, story: Story) -> None:
    deliver(story.processing())
    deliver(story.failed(code="payment_intent_payment_attempt_failed"))
    deliver(story.async_failed())
    payment.refresh_from_db()
    assert (payment.status, payment.failure_code) == ("failed", "payment_intent_payment_attempt_failed")
    with translation.override("en"):
        assert explain(payment, to_staff=False).startswith("The payment did not go through, and you have not been")


@pytest.mark.parametrize(
    ("code", "reason"),
    [("insufficient_funds", "provision insuffisante"), ("", "sans motif"), ("lost_card", "sans motif")],
)
def test_staff_read_why_a_card_was_declined_and_no_code(code: str, reason: str) -> None:
    with translation.override("fr"):
        assert decline_reason(code) == reason


@pytest.mark.parametrize("month", [1, 7])
def test_the_fast_filters_of_moments_say_what_those_of_django_say(month: int) -> None:
    at = datetime.datetime(2026, month, 9, 23, 5, tzinfo=datetime.UTC)
    text = '{% load clinic_wording %}{{ at|clock }} {{ at|iso }};{{ at|date:"H:i" }} {{ at|date:"c" }}'
    ours, djangos = engines["django"].from_string(text).render({"at": at}).split(";")
    assert ours == djangos
    assert ours.startswith(("00:05", "01:05"))
