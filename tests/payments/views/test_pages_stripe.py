"""Tests of what people do on the pages while Stripe, here the sandbox, loses answers, refuses or takes money back."""

from collections.abc import Callable
from typing import Any

import pytest
from django.core import mail
from django.core.management import call_command
from django.test import Client
from pytest_django.fixtures import Settings

from payments.domain.status import PaymentStatus as S
from payments.domain.status import Review
from payments.gateway.checkout import MOST_PAGES
from payments.models import Payment
from tests.payments.clients import desk_page_of, page_of, signed_in, text_of, token_of
from tests.payments.gateway.test_refunds import refunds_at, sweep_after
from tests.payments.sandbox import StripeAtHome, open_checkout
from tests.payments.stripe_story import Story, deliver
from tests.payments.views.test_pages_money import cancel, decide, give_back, refund, take, take_back

pytestmark = pytest.mark.django_db
Book = Callable[..., Payment]
KEY_REFUSED = pytest.mark.parametrize("mode", ["401", "403"])


def pay(payment: Payment, stripe: StripeAtHome, **how: str) -> str:
    """Pay the payment at Stripe, deliver what Stripe tells, and return the Checkout Session's id."""
    session = open_checkout(payment)
    stripe.do("pay", session=session, **how)
    if how:
        stripe.do("settle", session=session)
    stripe.tell()
    payment.refresh_from_db()
    return session


def pay_page(client: Client, payment: Payment, stripe: StripeAtHome) -> dict[str, Any]:
    """Click "Pay", and return the Checkout Session to which the click leads."""
    return stripe.session(client.post(f"/payments/{payment.public_id}/pay/")["Location"].rpartition("/")[2])


def lose_refund(client: Client, payment: Payment, stripe: StripeAtHome, amount: str) -> None:
    """Refund on the desk's page, and let Stripe make the refund but lose its answer and its webhooks."""
    stripe.do("api", mode="error500", processed=True, drop_webhooks=True, match="/v1/refunds", method="POST")
    give_back(client, payment, amount)
    stripe.do("api", mode="ok")
    assert payment.status == S.REFUND_PENDING


def ask_by_page(payment: Payment) -> None:
    signed_in("colleague", "front desk").post(f"/payments/{payment.public_id}/confirm/")


def reconcile(payment: Payment) -> None:
    call_command("reconcile", "--fix")


# Lost refunds


@pytest.mark.postgres
@pytest.mark.parametrize("first", [None, ask_by_page, reconcile], ids=["sweep", "page", "reconcile"])
def test_a_lost_refund_is_made_once_whoever_asks_stripe_first(
    database: str, as_clerk: Client, paid: Payment, stripe: StripeAtHome, first: Callable[[Payment], None] | None
) -> None:
    lose_refund(as_clerk, paid, stripe, "20")
    if first:
        first(paid)
    sweep_after(2, stripe)
    assert refunds_at(stripe) == [2000]
    paid.refresh_from_db()
    assert (paid.status, paid.amount_refunded, paid.amount_refund_pending) == (S.PARTIALLY_REFUNDED, 2000, 0)


def test_a_lost_refund_that_failed_meanwhile_is_not_made_again(
    as_clerk: Client, paid: Payment, stripe: StripeAtHome
) -> None:
    lose_refund(as_clerk, paid, stripe, "20")
    (made,) = stripe.listed("refunds")
    stripe.do("refund_status", refund=made["id"], status="failed")
    sweep_after(2, stripe)
    assert len(stripe.listed("refunds")) == 1
    paid.refresh_from_db()
    assert (paid.status, paid.reviews, paid.amount_refund_pending) == (S.PAID, [Review.REFUND_FAILED], 0)


def test_a_refund_in_the_dashboard_is_not_taken_for_the_lost_one(
    as_clerk: Client, paid: Payment, stripe: StripeAtHome
) -> None:
    """A refund of the lost refund's amount, made in the Dashboard meanwhile, is another one."""
    stripe.do("api", mode="error500", match="/v1/refunds", method="POST")
    give_back(as_clerk, paid, "20")
    stripe.do("api", mode="ok")
    stripe.do("refund", payment_intent=paid.facts.get(kind="intent").stripe_id, amount=2000)
    sweep_after(2, stripe)
    stripe.tell()
    paid.refresh_from_db()
    assert refunds_at(stripe) == [2000, 2000]
    assert (paid.amount_refunded, paid.amount_refund_pending) == (4000, 0)


# Refused keys


@KEY_REFUSED
def test_each_page_says_that_stripe_refuses_the_key(
    as_clerk: Client, as_patient: Client, payment: Payment, stripe: StripeAtHome, mode: str
) -> None:
    stripe.do("api", mode=mode)
    answer = text_of(as_patient.post(f"/payments/{payment.public_id}/pay/", follow=True))
    assert "Stripe a refusé" in answer
    assert "dans une minute" not in answer
    stripe.do("api", mode="ok")
    pay(payment, stripe)
    stripe.do("api", mode=mode)
    refused = refund(as_clerk, payment, amount="20", confirmed="1")
    assert (refused.status_code, "Stripe a refusé" in text_of(refused)) == (409, True)
    payment.refresh_from_db()
    assert (payment.status, payment.amount_refund_pending, payment.refundable) == (S.PAID, 0, 5000)


@KEY_REFUSED
def test_an_approved_refund_is_withdrawn_if_stripe_refuses_the_key(
    as_clerk: Client, paid: Payment, stripe: StripeAtHome, settings: Settings, mode: str
) -> None:
    settings.CLINIC_REFUND_APPROVAL_LIMITS = {"eur": 1000}
    give_back(as_clerk, paid, "20")
    boss, path = signed_in("boss", "manager"), f"{desk_page_of(paid)}refund/approve/"
    key = paid.facts.get(status="awaiting_approval").stripe_id.removeprefix("approval_")
    stripe.do("api", mode=mode)
    assert "Stripe a refusé" in text_of(boss.post(path, {"key": key, "approve": "1"}, follow=True))
    paid.refresh_from_db()
    assert (paid.status, paid.amount_refund_pending, paid.reviews) == (S.PAID, 0, [])


@KEY_REFUSED
def test_cash_is_taken_while_stripe_refuses_the_key_and_the_page_is_closed_later(
    as_clerk: Client, payment: Payment, stripe: StripeAtHome, mode: str
) -> None:
    session = open_checkout(payment)
    stripe.do("api", mode=mode)
    take(as_clerk, payment, "50")
    payment.refresh_from_db()
    assert payment.status == S.PAID
    stripe.do("api", mode="ok")
    call_command("sweep")
    assert stripe.session(session)["status"] == "expired"


# Taken back


@pytest.mark.parametrize("backwards", [False, True], ids=["in order", "backwards"])
def test_a_returned_debit_is_told_once_and_can_be_paid_after_staff_ask_again(
    as_clerk: Client, as_patient: Client, payment: Payment, stripe: StripeAtHome, backwards: bool
) -> None:
    session = pay(payment, stripe, outcome="processing")
    call_command("send_emails")
    stripe.do("dispute", session=session)
    told = [event for event in stripe.events() if event["id"] not in stripe.told]
    for event in reversed(told) if backwards else told:
        assert deliver(event).status_code == 200
    payment.refresh_from_db()
    assert (payment.status, payment.amount_owed, payment.payable) == (S.CHARGED_BACK, 5000, False)
    assert payment.reviews == [Review.TAKEN_BACK]
    mail.outbox.clear()
    call_command("send_emails")
    (message,) = mail.outbox
    assert "a repris" in message.subject
    decide(as_clerk, payment, "ask-again")
    assert pay_page(as_patient, payment, stripe)["amount_total"] == 5000


def test_a_returned_debit_of_a_part_is_owed_beside_the_cash(
    as_clerk: Client, payment: Payment, stripe: StripeAtHome
) -> None:
    take(as_clerk, payment, "20")
    session = pay(payment, stripe, outcome="processing")
    stripe.do("dispute", session=session)
    stripe.tell()
    payment.refresh_from_db()
    assert (payment.status, payment.amount_owed, payment.reviews) == (S.UNDERPAID, 3000, [Review.TAKEN_BACK])


@pytest.mark.parametrize(("lost", "total", "said"), [(5000, 0, "0,00 €"), (2000, 3000, "30,00 €")])
def test_a_patients_receipt_ends_in_what_the_bank_left(
    as_patient: Client, payment: Payment, story: Story, lost: int, total: int, said: str
) -> None:
    deliver(story.succeeded())
    take_back(story, lost)
    page = as_patient.get(f"/payments/{payment.public_id}/receipt/")
    assert page.context["receipt"].total == total
    assert "Repris par la banque" in text_of(page)
    assert said in text_of(page)


# Currencies


@pytest.mark.parametrize(("currency", "price", "typed"), [
    ("jpy", 5000, "5000"), ("kwd", 12_340, "12,34"), ("isk", 500_000, "5000"), ("chf", 5000, "50"),
])  # fmt: skip
def test_what_was_taken_at_the_desk_is_given_back_in_any_currency(
    book: Book, currency: str, price: int, typed: str
) -> None:
    payment, books = book(price, currency), signed_in("books", "accountant")
    take(books, payment, typed, "terminal")
    payment.refresh_from_db()
    assert (payment.status, payment.amount_received) == (S.PAID, price)
    give_back(books, payment, typed, through="cash")
    assert (payment.status, payment.amount_refunded) == (S.REFUNDED, price)


@pytest.mark.parametrize(("typed", "amount"), [("1,235", 1235), ("0,005", 5)])
def test_an_amount_between_stripes_steps_goes_back_at_the_desk_only(
    book: Book, stripe: StripeAtHome, typed: str, amount: int
) -> None:
    payment, books = book(12_340, "kwd", deposit_amount=10_000), signed_in("books", "accountant")
    pay(payment, stripe)
    take(books, payment, "2,34")
    payment.refresh_from_db()
    refused = refund(books, payment, amount=typed, confirmed="1")
    assert (refused.status_code, "par pas de 0,010" in text_of(refused)) == (422, True)
    give_back(books, payment, typed, through="cash")
    give_back(books, payment, "1,23")
    assert payment.amount_refunded == 1230 + amount


@pytest.mark.parametrize(("currency", "other"), [("jpy", "usd"), ("kwd", "eur"), ("eur", "jpy"), ("eur", "xyz")])
@pytest.mark.parametrize("end", ["", "lost", "won"])
def test_pages_show_a_dispute_in_another_currency_and_never_add_it(
    as_accountant: Client, book: Book, currency: str, other: str, end: str
) -> None:
    payment = book(5000, currency)
    story = Story(payment)
    deliver(story.succeeded())
    deliver(story.dispute("needs_response", amount=3300, currency=other))
    if end:
        deliver(story.dispute(end, "closed", amount=3300, currency=other))
    payment.refresh_from_db()
    assert (payment.amount_lost, payment.amounts.net) == (0, 5000)
    assert payment.status == (S.PAID if end else S.DISPUTED)
    assert (Review.CURRENCY_MISMATCH in payment.reviews) == (end != "won")
    desk = desk_page_of(payment)
    receipt, journal = f"/payments/{payment.public_id}/receipt/", "/desk/journal/?first=&last="
    for path in (desk, f"{desk}movements/", f"{desk}timeline/", "/review/", "/desk/", receipt, journal):
        assert as_accountant.get(path).status_code == 200, path


# What is asked


def test_checkout_asks_for_the_rest_and_after_a_refund_and_a_new_booking_for_all(
    as_clerk: Client, as_patient: Client, payment: Payment, stripe: StripeAtHome
) -> None:
    pay(payment, stripe)
    payment.appointment.price_amount = 8000
    payment.appointment.save()
    session = pay_page(as_patient, payment, stripe)
    assert session["amount_total"] == 3000
    stripe.do("pay", session=session["id"])
    stripe.tell()
    payment.refresh_from_db()
    assert (payment.status, payment.reviews) == (S.PAID, [])
    cancel(as_clerk, payment)
    give_back(signed_in("books", "accountant"), payment, "80")
    stripe.tell()
    as_clerk.post(f"{desk_page_of(payment)}attendance/", {"status": "booked"})
    assert pay_page(as_patient, payment, stripe)["amount_total"] == 8000


def test_a_fee_below_stripes_minimum_is_left_to_the_desk(
    as_clerk: Client, as_patient: Client, payment: Payment
) -> None:
    cancel(as_clerk, payment, "0,30")
    assert (payment.amount_owed, payment.payable_online) == (30, False)
    page = text_of(as_patient.get(page_of(payment)))
    assert "0,30 € ne peut être réglé qu’à l’accueil" in page
    assert "Payer en ligne" not in page


def test_clicks_in_three_places_leave_one_page_open(
    as_clerk: Client, as_patient: Client, client: Client, payment: Payment, stripe: StripeAtHome
) -> None:
    """The patient, the desk and a pay link open pages that differ, each of which closes the one before."""
    for _ in range(8):
        for visitor in (as_patient, as_clerk):
            visitor.post(f"/payments/{payment.public_id}/pay/")
        client.post(f"/p/{token_of(payment)}/pay/")
    sessions = stripe.listed("checkout/sessions")
    assert [session["status"] for session in sessions].count("open") <= 1
    assert len(sessions) == MOST_PAGES
