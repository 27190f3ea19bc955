"""Tests of refunds, with the sandbox as Stripe."""

import datetime
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from uuid import uuid4

import pytest
import time_machine
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django.fixtures import Settings

from accounts.models import User
from payments.desk import refund_approvals
from payments.desk.giving_back import give_back
from payments.desk.refund_orders import Order
from payments.domain.status import PaymentStatus as S
from payments.domain.status import Review
from payments.gateway import sweep
from payments.gateway.client import StripeUnavailableError
from payments.gateway.reconcile import ask_stripe
from payments.gateway.refunds import NotRefundableError
from payments.ledger import Source
from payments.models import Fact, Payment
from tests.payments.clients import text_of
from tests.payments.sandbox import StripeAtHome, open_checkout

pytestmark = pytest.mark.django_db
DAY = 24 * 3600


@contextmanager
def unanswered_refunds(stripe: StripeAtHome) -> Iterator[None]:
    """Let Stripe execute the refund requests in the `with` block, but lose Stripe's answers and webhooks."""
    stripe.do("api", mode="error500", processed=True, drop_webhooks=True, match="/v1/refunds", method="POST")
    with pytest.raises(StripeUnavailableError):
        yield
    stripe.do("api", mode="ok")


def sweep_after(days: float, stripe: StripeAtHome) -> None:
    """Run the command sweep as if `days` days had passed, here and at Stripe.

    Stripe forgets idempotency keys after one day.
    """
    stripe.do("clock", offset=int(days * DAY))
    with time_machine.travel(timezone.now() + datetime.timedelta(days=days)):
        call_command("sweep", "--quiet-for", "0")


def refunds_at(stripe: StripeAtHome) -> list[int]:
    """Return the amounts of all refunds at Stripe, in minor units, smallest first."""
    return sorted(refund["amount"] for refund in stripe.listed("refunds"))


def test_a_refund_is_one_row_and_bears_the_name_of_who_asked(paid: Payment, stripe: StripeAtHome, clerk: User) -> None:
    give_back(paid, Order(5000, "requested_by_customer"), clerk, key=uuid4().hex)
    stripe.tell()
    paid.refresh_from_db()
    assert (paid.status, paid.amount_refunded, paid.refundable) == (S.REFUNDED, 5000, 0)
    assert {change.actor for change in paid.changes.filter(to_status__in=[S.REFUNDED, S.REFUND_PENDING])} == {clerk}
    assert Fact.objects.filter(kind="refund").exclude(stripe_id__startswith="request_").count() == 1


def test_part_of_it_then_the_rest(paid: Payment, clerk: User) -> None:
    give_back(paid, Order(1500, ""), clerk, key=uuid4().hex)
    paid.refresh_from_db()
    assert (paid.status, paid.refundable) == (S.PARTIALLY_REFUNDED, 3500)
    give_back(paid, Order(3500, ""), clerk, key=uuid4().hex)
    paid.refresh_from_db()
    assert paid.status == S.REFUNDED


@pytest.mark.parametrize("amount", [0, -1, 5001])
def test_more_than_what_is_left_is_refused(paid: Payment, clerk: User, amount: int) -> None:
    with pytest.raises(NotRefundableError) as refused:
        give_back(paid, Order(amount, ""), clerk, key=uuid4().hex)
    assert refused.value.remaining == 5000


def test_the_second_of_two_clicks_finds_nothing_left(paid: Payment, clerk: User) -> None:
    same = Payment.objects.get(pk=paid.pk)
    give_back(paid, Order(5000, ""), clerk, key=uuid4().hex)
    with pytest.raises(NotRefundableError) as refused:
        give_back(same, Order(5000, ""), clerk, key=uuid4().hex)
    assert refused.value.remaining == 0


def test_the_same_form_sent_twice_is_one_refund(paid: Payment, clerk: User) -> None:
    for _ in range(2):
        give_back(paid, Order(1000, ""), clerk, key="c0ffee")
    paid.refresh_from_db()
    assert paid.amount_refunded == 1000


@pytest.mark.parametrize("processed", [True, False])
def test_a_refund_without_an_answer_stays_pending_until_the_sweep_settles_it(
    paid: Payment, stripe: StripeAtHome, clerk: User, processed: bool
) -> None:
    stripe.do("api", mode="error500", processed=processed, match="/v1/refunds")
    with pytest.raises(StripeUnavailableError):
        give_back(paid, Order(5000, ""), clerk, key=uuid4().hex)
    paid.refresh_from_db()
    assert (paid.status, paid.amount_refund_pending) == (S.REFUND_PENDING, 5000)
    stripe.do("api", mode="ok")
    request = Fact.objects.get(stripe_id__startswith="request_")
    sweep.resend(request)
    paid.refresh_from_db()
    assert (paid.status, paid.amount_refunded) == (S.REFUNDED, 5000)
    ask_stripe(paid, Source.RECONCILE)
    assert Fact.objects.filter(kind="refund").exclude(stripe_id__startswith="request_").count() == 1


def test_money_already_returned_on_the_dashboard_is_no_error_state(
    paid: Payment, stripe: StripeAtHome, clerk: User
) -> None:
    intent = paid.facts.get(kind="intent").stripe_id
    stripe.do("refund", payment_intent=intent)
    give_back(paid, Order(5000, ""), clerk, key=uuid4().hex)
    paid.refresh_from_db()
    assert (paid.status, paid.amount_refund_pending) == (S.REFUNDED, 0)


def test_of_a_double_payment_the_later_one_is_given_back(payment: Payment, stripe: StripeAtHome, clerk: User) -> None:
    first = open_checkout(payment)
    stripe.do("pay", session=first)
    payment.facts.filter(kind="session").update(status="expired")  # as if the site didn't know of the payment
    Payment.objects.update(status="expired")
    second = open_checkout(payment)
    stripe.do("pay", session=second)
    stripe.tell()
    payment.refresh_from_db()
    assert (payment.amount_overpaid, payment.reviews) == (5000, [Review.DOUBLE_PAYMENT])
    give_back(payment, Order(5000, "duplicate"), clerk, key=uuid4().hex)
    payment.refresh_from_db()
    assert (payment.status, payment.amount_overpaid, payment.reviews) == (S.PAID, 0, [])
    later = payment.facts.filter(kind="intent").latest("attempt")
    assert Fact.objects.filter(kind="refund", payment_intent_id=later.stripe_id).exists()


@pytest.mark.parametrize("days", [0.01, 2])
def test_a_refund_whose_answer_and_webhook_were_lost_is_made_once(
    paid: Payment, stripe: StripeAtHome, clerk: User, days: float
) -> None:
    with unanswered_refunds(stripe):
        give_back(paid, Order(2000, ""), clerk, key=uuid4().hex)
    sweep_after(days, stripe)
    assert refunds_at(stripe) == [2000]
    paid.refresh_from_db()
    assert (paid.status, paid.amount_refunded, paid.amount_refund_pending) == (S.PARTIALLY_REFUNDED, 2000, 0)
    assert [change.actor for change in paid.changes.all()][-1] == clerk


def test_a_lost_refund_that_somebody_had_to_approve_is_made_once(
    paid: Payment, stripe: StripeAtHome, clerk: User, settings: Settings
) -> None:
    settings.CLINIC_REFUND_APPROVAL_LIMITS = {"eur": 0}
    approver = User.objects.create_superuser("approver")
    assert not give_back(paid, Order(2000, ""), clerk, key="c0ffee")
    with unanswered_refunds(stripe):
        refund_approvals.approve(paid, "c0ffee", approver)
    sweep_after(2, stripe)
    assert refunds_at(stripe) == [2000]
    paid.refresh_from_db()
    assert (paid.status, paid.amount_refunded) == (S.PARTIALLY_REFUNDED, 2000)
    assert [change.actor for change in paid.changes.all()][-1] == approver


@pytest.mark.postgres
def test_each_part_of_a_lost_refund_of_two_payments_is_made_once(
    database: str, book: Callable[..., Payment], stripe: StripeAtHome, clerk: User
) -> None:
    """Sweep completes a refund whose first part was made, but got no answer, and whose second part was never sent.

    Neither part is made twice. The refund has two parts because the patient paid in two parts.
    """
    assert connection.vendor.startswith(database)
    payment = book(deposit_amount=2000)
    for _ in range(2):
        stripe.do("pay", session=open_checkout(payment))
        stripe.tell()
        payment.refresh_from_db()
    assert (payment.status, payment.amount_received) == (S.PAID, 5000)
    with unanswered_refunds(stripe):
        give_back(payment, Order(4500, ""), clerk, key=uuid4().hex)
    assert refunds_at(stripe) == [3000]
    sweep_after(2, stripe)
    sweep_after(4, stripe)
    assert refunds_at(stripe) == [1500, 3000]
    payment.refresh_from_db()
    assert (payment.status, payment.amount_refunded, payment.amount_refund_pending) == (S.PARTIALLY_REFUNDED, 4500, 0)


def test_a_lost_refund_is_found_behind_a_hundred_newer_ones(paid: Payment, stripe: StripeAtHome, clerk: User) -> None:
    intent = paid.facts.get(kind="intent").stripe_id
    with unanswered_refunds(stripe):
        give_back(paid, Order(2000, ""), clerk, key=uuid4().hex)
    stripe.do("clock", offset=60)
    for _ in range(100):
        stripe.do("refund", payment_intent=intent, amount=1)
    sweep_after(2, stripe)
    assert refunds_at(stripe)[-1:] == [1]  # the newest hundred
    paid.refresh_from_db()
    assert (paid.amount_refunded, paid.amount_refund_pending) == (2100, 0)


def test_a_refund_is_not_sent_again_while_stripes_refunds_cannot_be_read(
    paid: Payment, stripe: StripeAtHome, clerk: User
) -> None:
    with unanswered_refunds(stripe):
        give_back(paid, Order(2000, ""), clerk, key=uuid4().hex)
    stripe.do("api", mode="error500", match="/v1/refunds", method="GET")
    with pytest.raises(CommandError):
        sweep_after(2, stripe)
    stripe.do("api", mode="ok")
    assert refunds_at(stripe) == [2000]
    paid.refresh_from_db()
    assert (paid.status, paid.amount_refund_pending) == (S.REFUND_PENDING, 2000)
    sweep_after(3, stripe)
    assert refunds_at(stripe) == [2000]
    paid.refresh_from_db()
    assert (paid.status, paid.amount_refunded) == (S.PARTIALLY_REFUNDED, 2000)


@pytest.mark.parametrize(("mode", "code"), [("401", "authentication_error"), ("403", "permission_error")])
@pytest.mark.parametrize("match", ["/v1/", "/v1/refunds"])
def test_a_refund_for_which_stripe_refuses_the_key_is_withdrawn(
    paid: Payment, stripe: StripeAtHome, clerk: User, mode: str, code: str, match: str
) -> None:
    stripe.do("api", mode=mode, match=match)
    with pytest.raises(NotRefundableError) as refused:
        give_back(paid, Order(2000, ""), clerk, key=uuid4().hex)
    assert (refused.value.code, refused.value.remaining) == (code, 5000)
    stripe.do("api", mode="ok")
    sweep_after(2, stripe)
    assert refunds_at(stripe) == []
    paid.refresh_from_db()
    assert (paid.status, paid.amount_refund_pending, paid.refundable) == (S.PAID, 0, 5000)


def test_a_refund_that_stripe_refuses_when_nobody_waits_for_the_answer_is_reviewed(
    paid: Payment, stripe: StripeAtHome, clerk: User
) -> None:
    stripe.do("api", mode="error500", match="/v1/refunds")
    with pytest.raises(StripeUnavailableError):
        give_back(paid, Order(2000, ""), clerk, key=uuid4().hex)
    stripe.do("api", mode="ok")
    stripe.do("refund", payment_intent=paid.facts.get(kind="intent").stripe_id, amount=4000)
    with pytest.raises(CommandError):
        sweep_after(2, stripe)
    paid.refresh_from_db()
    assert (paid.status, paid.amount_refund_pending, paid.amounts.net) == (S.PARTIALLY_REFUNDED, 0, 1000)
    assert paid.reviews == ["refund_failed"]


def test_a_lost_refund_waits_while_stripe_refuses_the_key(paid: Payment, stripe: StripeAtHome, clerk: User) -> None:
    with unanswered_refunds(stripe):
        give_back(paid, Order(2000, ""), clerk, key=uuid4().hex)
    stripe.do("api", mode="401")
    with pytest.raises(CommandError):
        sweep_after(2, stripe)
    paid.refresh_from_db()
    assert (paid.status, paid.amount_refund_pending) == (S.REFUND_PENDING, 2000)
    stripe.do("api", mode="ok")
    sweep_after(3, stripe)
    assert refunds_at(stripe) == [2000]


@pytest.mark.parametrize("mode", ["409", "429", "lock_timeout"])
def test_a_refund_that_stripe_puts_off_is_made_by_the_sweep(
    paid: Payment, stripe: StripeAtHome, clerk: User, mode: str
) -> None:
    stripe.do("api", mode=mode, match="/v1/refunds", method="POST")
    with pytest.raises(StripeUnavailableError):
        give_back(paid, Order(2000, ""), clerk, key=uuid4().hex)
    paid.refresh_from_db()
    assert (paid.status, paid.amount_refund_pending) == (S.REFUND_PENDING, 2000)
    stripe.do("api", mode="ok")
    sweep_after(0.01, stripe)
    assert refunds_at(stripe) == [2000]
    paid.refresh_from_db()
    assert (paid.status, paid.amount_refunded) == (S.PARTIALLY_REFUNDED, 2000)


def test_check_with_stripe_says_that_stripe_refuses_the_key(
    paid: Payment, stripe: StripeAtHome, as_patient: Client
) -> None:
    stripe.do("api", mode="403")
    address = reverse("clinic:confirm_payment", args=[paid.public_id])
    answer = as_patient.post(address, follow=True, headers={"Accept-Language": "en"})
    assert "Stripe refuses to answer this site (permission_error)" in text_of(answer)
