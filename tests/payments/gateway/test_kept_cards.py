"""Tests of cards that Stripe keeps: how patients leave one and have it removed, with the sandbox as Stripe."""

import datetime
from collections.abc import Callable
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client
from django.urls import reverse
from django.utils import timezone, translation

from accounts.models import User
from appointments.models import Appointment, Prepayment
from payments import erasure
from payments.domain.cards import CardState
from payments.domain.status import PaymentStatus as S
from payments.gateway import kept_cards
from payments.gateway.checkout import NotPayableError, TooManyPagesError
from payments.gateway.client import StripeUnavailableError
from payments.gateway.kept_cards import kept_card
from payments.gateway.reconcile import ask_stripe
from payments.ledger import Source
from payments.models import Customer, Fact, Payment
from payments.wording import describe
from tests.payments.clients import client_of, text_of
from tests.payments.sandbox import StripeAtHome, leave_card, open_checkout, open_setup

pytestmark = pytest.mark.django_db
FEE = 3000
CARD = Prepayment.CARD


@pytest.fixture
def asked(book: Callable[..., Payment]) -> Payment:
    """Return the payment of an appointment for which a card is asked, for a no-show fee of at most 30,00 €."""
    return book(prepayment=CARD, no_show_fee_amount=FEE)


def test_a_card_is_kept_and_nothing_is_charged(asked: Payment, stripe: StripeAtHome) -> None:
    session = open_setup(asked)
    assert asked.status == S.UNPAID  # a page that keeps a card is no attempt to pay
    stripe.do("pay", session=session)
    assert stripe.tell() == ["ignored_type", "ignored_type", "ignored_type", "applied", "no_change"]
    asked.refresh_from_db()
    assert (asked.card, asked.card_brand, asked.card_limit, asked.amount_received) == ("kept", "", FEE, 0)
    assert kept_cards.read_card(asked, session)
    assert (asked.card_brand, asked.card_last4, asked.status) == ("visa", "4242", S.UNPAID)
    assert stripe.listed("charges") == []
    assert [change.booking.get("card") for change in asked.changes.all()] == [None, "kept", "kept"]
    with translation.override("en"):
        told = [describe(change, to_staff=True) for change in asked.changes.all()]
    assert told == ["Appointment booked · €50.00", "Card kept", "Card kept: Visa"]


def test_stripe_learns_nothing_about_the_patient(asked: Payment, stripe: StripeAtHome) -> None:
    leave_card(asked, stripe)
    customer, intent = stripe.listed("customers")[0], stripe.listed("setup_intents")[0]
    assert (customer["name"], customer["email"], list(customer["metadata"])) == (None, None, ["site"])
    assert sorted(intent["metadata"]) == ["attempt", "payment_id", "site"]


def test_a_patient_has_one_customer_for_each_currency(book: Callable[..., Payment], stripe: StripeAtHome) -> None:
    for currency in ("eur", "eur", "chf"):
        leave_card(book(currency=currency, prepayment=CARD, no_show_fee_amount=FEE), stripe)
    assert sorted(Customer.objects.values_list("currency", flat=True)) == ["chf", "eur"]
    assert len(stripe.listed("customers")) == 2


def test_what_was_agreed_outlives_a_change_of_the_text_and_of_the_fee(
    asked: Payment, stripe: StripeAtHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave_card(asked, stripe)
    agreed = kept_card(asked).agreement
    assert agreed is not None
    assert (agreed.amount, agreed.currency, agreed.version, agreed.language) == (FEE, "eur", "1", "en")
    assert "at most €30.00 in all" in agreed.text
    monkeypatch.setattr("payments.gateway.consent.VERSION", "2")
    monkeypatch.setattr("payments.gateway.consent.words_of", lambda payment, language: "Other words")
    asked.appointment.no_show_fee_amount = 9000
    asked.appointment.save()
    asked.refresh_from_db()
    assert (kept_card(asked).agreement, asked.card_limit) == (agreed, FEE)
    asked.appointment.status = Appointment.Status.NO_SHOW
    asked.appointment.save()
    asked.refresh_from_db()
    assert (asked.amount_due, asked.amount_owed, asked.fee_to_charge) == (FEE, FEE, FEE)


def test_the_words_on_stripes_page_are_those_that_are_recorded(asked: Payment, stripe: StripeAtHome) -> None:
    session = open_setup(asked, "fr")
    words = Fact.objects.get(kind="consent").details["text"]
    assert words in stripe.page(session).replace("&#39;", "'")
    with translation.override("fr"):
        assert "30,00\N{NO-BREAK SPACE}€" in words


def test_a_declined_card_is_not_kept_and_another_one_is(asked: Payment, stripe: StripeAtHome) -> None:
    session = open_setup(asked)
    stripe.do("pay", session=session, card="4000000000000002")
    stripe.tell()
    asked.refresh_from_db()
    assert (asked.card, asked.card_limit, asked.wants_card) == ("failed", 0, True)
    stripe.do("pay", session=session)
    stripe.tell()
    asked.refresh_from_db()
    assert (asked.card, asked.card_limit, asked.wants_card) == ("kept", FEE, False)


@pytest.mark.parametrize("first", ["tell", "read"])
def test_event_and_answer_lead_to_one_card_in_any_order(asked: Payment, stripe: StripeAtHome, first: str) -> None:
    session = open_setup(asked)
    stripe.do("pay", session=session)
    steps: list[Callable[[], Any]] = [stripe.tell, lambda: kept_cards.read_card(asked, session)]
    for step in steps if first == "tell" else reversed(steps):
        step()
    asked.refresh_from_db()
    assert (asked.card, asked.card_brand, asked.card_last4, asked.card_limit) == ("kept", "visa", "4242", FEE)


def test_the_sweep_finds_a_card_of_which_no_event_came(asked: Payment, stripe: StripeAtHome) -> None:
    stripe.do("pay", session=open_setup(asked))
    events = stripe.events()
    stripe.told |= {event["id"] for event in events if event["type"] != "setup_intent.succeeded"}
    stripe.tell()
    asked.refresh_from_db()
    assert (asked.card, asked.card_brand) == ("kept", "")
    call_command("sweep", "--quiet-for", "0")
    asked.refresh_from_db()
    assert (asked.card_brand, asked.card_last4) == ("visa", "4242")


def test_paying_the_deposit_keeps_the_card_too(book: Callable[..., Payment], stripe: StripeAtHome) -> None:
    deposit = Prepayment.DEPOSIT
    payment = book(prepayment=deposit, deposit_amount=2000, no_show_fee_amount=FEE)
    session = open_checkout(payment, language="en")
    made = stripe.session(session)
    assert "at most €30.00 in all" in made["custom_text"]["submit"]["message"]
    assert (made["customer"], made["customer_email"]) == (Customer.objects.get().stripe_customer_id, None)
    stripe.do("pay", session=session)
    stripe.tell()
    payment.refresh_from_db()
    assert (payment.status, payment.amount_owed, payment.card, payment.card_limit) == (S.UNDERPAID, 3000, "kept", FEE)
    assert payment.reviews == []
    call_command("sweep", "--quiet-for", "0")
    payment.refresh_from_db()
    assert payment.card_brand == "visa"
    assert stripe.session(open_checkout(payment))["customer"] is None  # the rest is paid without keeping a card again


def test_the_whole_price_is_paid_without_keeping_a_card(asked: Payment, stripe: StripeAtHome) -> None:
    assert stripe.session(open_checkout(asked))["customer"] is None


def test_a_card_is_removed_at_stripe_and_nothing_can_be_charged(
    asked: Payment, stripe: StripeAtHome, patient: User
) -> None:
    leave_card(asked, stripe)
    method = kept_card(asked).payment_method_id
    kept_cards.remove_card(asked, patient)
    assert (asked.card, asked.card_limit, asked.wants_card) == ("removed", 0, True)
    assert next(found for found in stripe.listed("payment_methods") if found["id"] == method)["customer"] is None
    assert asked.changes.filter(actor=patient).get().booking["card"] == "removed"
    assert set(stripe.tell()) <= {"no_change", "ignored_type"}
    kept_cards.remove_card(asked, patient)  # a second click finds nothing to remove


def test_a_card_removed_in_stripes_dashboard_is_removed_here(asked: Payment, stripe: StripeAtHome) -> None:
    leave_card(asked, stripe)
    method = kept_card(asked).payment_method_id
    stripe._send(f"{stripe.url}/v1/payment_methods/{method}/detach", b"")
    assert stripe.tell() == ["applied"]
    asked.refresh_from_db()
    assert asked.card == "removed"


@pytest.mark.parametrize(("status", "days", "card"), [("completed", 8, "removed"), ("completed", 6, "kept"),
                                                      ("no_show", 60, "kept"), ("canceled", 8, "removed")])  # fmt: skip
def test_the_sweep_has_a_card_removed_once_it_has_served_its_purpose(
    asked: Payment, stripe: StripeAtHome, status: str, days: int, card: str
) -> None:
    leave_card(asked, stripe)
    asked.appointment.status = Appointment.Status(status)
    asked.appointment.save()
    Appointment.objects.update(
        start=timezone.now() - datetime.timedelta(days=days, minutes=30),
        end=timezone.now() - datetime.timedelta(days=days),
    )
    call_command("sweep", "--quiet-for", "0")
    asked.refresh_from_db()
    assert asked.card == card


def test_a_removal_of_which_no_event_came_is_found_by_asking(asked: Payment, stripe: StripeAtHome) -> None:
    leave_card(asked, stripe)
    stripe._send(f"{stripe.url}/v1/payment_methods/{kept_card(asked).payment_method_id}/detach", b"")
    ask_stripe(asked, Source.RECONCILE)
    asked.refresh_from_db()
    assert asked.card == "removed"


def test_a_card_stays_kept_if_stripe_does_not_answer(asked: Payment, stripe: StripeAtHome, patient: User) -> None:
    leave_card(asked, stripe)
    stripe.do("api", mode="error500", match="/detach")
    with pytest.raises(StripeUnavailableError):
        kept_cards.remove_card(asked, patient)
    asked.refresh_from_db()
    assert asked.card == "kept"


def test_another_click_closes_the_first_page(asked: Payment, stripe: StripeAtHome) -> None:
    first, second = open_setup(asked), open_setup(asked)
    assert [stripe.session(each)["status"] for each in (first, second)] == ["expired", "open"]


def test_a_canceled_appointment_closes_the_page(
    asked: Payment, stripe: StripeAtHome, django_capture_on_commit_callbacks: Any
) -> None:
    session = open_setup(asked)
    asked.appointment.status = Appointment.Status.CANCELED
    with django_capture_on_commit_callbacks(execute=True):
        asked.appointment.save()
    assert stripe.session(session)["status"] == "expired"
    asked.refresh_from_db()
    with pytest.raises(NotPayableError):
        open_setup(asked)


def test_pages_to_leave_a_card_are_capped(asked: Payment, stripe: StripeAtHome) -> None:
    for _ in range(10):
        open_setup(asked)
    with pytest.raises(TooManyPagesError):
        open_setup(asked)


def test_a_patient_leaves_a_card_and_has_it_removed(asked: Payment, stripe: StripeAtHome, as_patient: Client) -> None:
    as_patient.defaults["HTTP_ACCEPT_LANGUAGE"] = "en"
    page = reverse("clinic:appointment", args=[asked.appointment.reference])
    assert "Nothing is charged now, and at most €30.00" in text_of(as_patient.get(page))
    keep = reverse("clinic:keep_card", args=[asked.public_id])
    assert "may charge it at most €30.00 in all" in text_of(as_patient.get(keep))
    session = as_patient.post(keep)["Location"].rsplit("/", 1)[-1]
    stripe.do("pay", session=session)
    back = as_patient.get(keep, {"session_id": session}, follow=True)
    assert "Your card is kept. Nothing was charged." in text_of(back)
    assert "Card kept: Visa •• 4242, for at most €30.00 if you don’t come." in text_of(back)
    remove = reverse("clinic:remove_card", args=[asked.public_id])
    assert "Agreed on" in text_of(as_patient.get(remove))
    assert "The card is removed." in text_of(as_patient.post(remove, follow=True))
    asked.refresh_from_db()
    assert asked.card == CardState.REMOVED


def test_a_session_id_of_another_page_is_not_found(asked: Payment, stripe: StripeAtHome, as_patient: Client) -> None:
    keep = reverse("clinic:keep_card", args=[asked.public_id])
    assert as_patient.get(keep, {"session_id": "cs_test_other"}).status_code == 404


def test_nobody_else_agrees_for_a_patient(asked: Payment, as_clerk: Client) -> None:
    assert as_clerk.post(reverse("clinic:keep_card", args=[asked.public_id])).status_code == 404


def test_the_desk_says_what_is_asked_and_kept(asked: Payment, stripe: StripeAtHome, as_clerk: Client) -> None:
    as_clerk.defaults["HTTP_ACCEPT_LANGUAGE"] = "en"
    page = reverse("clinic:desk_appointment", args=[asked.appointment.reference])
    assert "A card for a no-show fee of at most €30.00 is asked for" in text_of(as_clerk.get(page))
    leave_card(asked, stripe)
    assert "Card kept: Visa •• 4242. At most €30.00 may still be charged to it." in text_of(as_clerk.get(page))
    remove = reverse("clinic:remove_card_at_desk", args=[asked.appointment.reference])
    assert "The card is removed." in text_of(as_clerk.post(remove, follow=True))


def test_an_erased_patient_leaves_no_digits(asked: Payment, stripe: StripeAtHome, patient: User) -> None:
    leave_card(asked, stripe)
    asked.appointment.status = Appointment.Status.CANCELED
    asked.appointment.save()
    assert erasure.reason_against(patient) == "has 1 cards kept at Stripe. Remove them first."
    kept_cards.remove_card(asked, None)
    asked.refresh_from_db()
    assert erasure.erase(patient)["cards"] == 1
    asked.refresh_from_db()
    assert asked.card_last4 == ""
    assert "last4" not in Fact.objects.get(kind="card").details


def test_another_patients_client_sees_nothing(asked: Payment) -> None:
    other = client_of(User.objects.create_user("other"))
    assert other.get(reverse("clinic:keep_card", args=[asked.public_id])).status_code == 404
    assert other.post(reverse("clinic:remove_card", args=[asked.public_id])).status_code == 404
    assert Source.DESK not in asked.changes.values_list("source", flat=True)
