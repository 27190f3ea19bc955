"""Tests of the pages while a patient has instructions for paying, such as a voucher, but hasn't paid yet."""

from collections.abc import Callable

import pytest
from django.test import Client

from payments.domain.status import PaymentStatus, Review
from payments.models import Payment
from tests.payments.clients import desk_page_of, page_of, text_of, token_of
from tests.payments.sandbox import StripeAtHome, open_checkout

pytestmark = pytest.mark.django_db
RECEIVED = "Paiement reçu"
Comeback = Callable[[Payment, str], str]


@pytest.fixture(params=["multibanco", "bank_transfer"])
def session(request: pytest.FixtureRequest, payment: Payment, stripe: StripeAtHome) -> str:
    """Let the patient choose a voucher or a bank transfer at Stripe, and return the Checkout Session's id."""
    session = open_checkout(payment)
    stripe.do("pay", session=session, outcome=request.param)
    stripe.tell()
    payment.refresh_from_db()
    return session


@pytest.mark.parametrize("comeback", [
    lambda payment, session: f"/payments/{payment.public_id}/return/?session_id={session}",
    lambda payment, session: f"/p/{token_of(payment)}/?session_id={session}",
], ids=["account", "pay link"])  # fmt: skip
def test_who_comes_back_with_instructions_is_told_to_follow_them(
    as_patient: Client, payment: Payment, session: str, comeback: Comeback
) -> None:
    page = text_of(as_patient.get(comeback(payment, session), follow=True))
    assert "instructions données par Stripe" in page
    assert RECEIVED not in page
    assert (payment.status, payment.amount_owed) == (PaymentStatus.CHECKOUT_OPEN, 5000)


def test_who_comes_back_before_the_webhook_waits_for_it(
    as_patient: Client, payment: Payment, stripe: StripeAtHome
) -> None:
    session = open_checkout(payment)
    stripe.do("pay", session=session)
    page = as_patient.get(f"/payments/{payment.public_id}/return/?session_id={session}", follow=True)
    assert RECEIVED in text_of(page)


def test_the_desk_is_told_of_instructions_and_not_of_an_open_page(
    as_clerk: Client, payment: Payment, session: str
) -> None:
    assert "rien n’est encore arrivé" in text_of(as_clerk.get(desk_page_of(payment)))
    cancel = f"{desk_page_of(payment)}cancel/"
    assert "Si l’argent arrive malgré tout" in text_of(as_clerk.get(cancel))


def test_money_that_follows_instructions_after_a_cancellation_is_reviewed(
    as_clerk: Client, payment: Payment, stripe: StripeAtHome, session: str
) -> None:
    as_clerk.post(f"{desk_page_of(payment)}cancel/", {"fee": "0"})
    stripe.do("settle", session=session)
    stripe.tell()
    payment.refresh_from_db()
    assert (payment.status, payment.reviews) == (PaymentStatus.PAID, [Review.PAID_AFTER_CANCEL])


def test_after_a_voucher_has_expired_one_can_pay_again(
    as_patient: Client, payment: Payment, stripe: StripeAtHome, session: str
) -> None:
    stripe.do("settle", session=session, success=False)
    stripe.tell()
    payment.refresh_from_db()
    assert (payment.status, payment.payable) == (PaymentStatus.FAILED, True)
    assert "refusé" not in text_of(as_patient.get(page_of(payment))), "no card was declined"
    page = as_patient.post(f"/payments/{payment.public_id}/pay/")["Location"]
    assert stripe.session(page.rpartition("/")[2])["status"] == "open"
