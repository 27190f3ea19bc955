"""Refunds above a limit: nothing is sent to Stripe until a second person has approved the refund."""

import threading
from collections.abc import Callable

import pytest
from django.db import connection
from django.test import Client
from pytest_django.fixtures import Settings

from accounts.models import User
from payments.desk import refund_approvals
from payments.desk.refund_approvals import OwnRefundError
from payments.desk.refund_orders import Order
from payments.desk.review import cases_of
from payments.domain.status import PaymentStatus, Review
from payments.gateway.client import StripeUnavailableError
from payments.models import Fact, Payment
from tests.payments.clients import desk_page_of, signed_in, text_of
from tests.payments.sandbox import StripeAtHome
from tests.payments.stripe_story import Story, deliver

pytestmark = pytest.mark.django_db
REFUND = {"through": "stripe", "amount": "40", "reason": "duplicate", "confirmed": "1"}


@pytest.fixture(autouse=True)
def alone(settings: Settings) -> None:
    settings.CLINIC_REFUND_APPROVAL_LIMITS = {"eur": 3000}


def asked_by(client: Client, payment: Payment) -> refund_approvals.RefundRequest:
    assert client.post(f"{desk_page_of(payment)}refund/", REFUND).status_code == 302
    payment.refresh_from_db()
    (asked,) = refund_approvals.waiting(payment)
    return asked


def requests() -> int:
    return Fact.objects.filter(kind="refund", stripe_id__startswith="request_").count()


def test_a_refund_above_the_sum_waits_and_stripe_hears_nothing(paid: Payment, stripe: StripeAtHome) -> None:
    asked = asked_by(signed_in("books", "accountant"), paid)
    assert (asked.order.amount, requests()) == (4000, 0)
    assert (paid.status, paid.amount_refund_pending, paid.reviews) == (PaymentStatus.PAID, 0, [Review.REFUND_APPROVAL])
    assert not [event for event in stripe.events() if "refund" in event["type"]]


def test_the_review_queue_adds_up_requests_in_the_payment_s_currency_only(paid: Payment, stripe: StripeAtHome) -> None:
    asked_by(signed_in("books", "accountant"), paid)
    request = paid.facts.get(status=refund_approvals.WAITING)
    Fact.objects.create(
        payment=paid, kind=request.kind, stripe_id="other", status=request.status, amount=700, currency="chf",
        as_of=request.as_of, created=request.created, livemode=request.livemode,
    )  # fmt: skip
    [case] = [case for case in cases_of([paid]) if case.review == Review.REFUND_APPROVAL]
    assert "40,00" in case.words


def test_another_person_approves_and_the_timeline_names_both(paid: Payment, stripe: StripeAtHome) -> None:
    asked = asked_by(signed_in("books", "accountant"), paid)
    boss = signed_in("boss", "manager")
    page = text_of(boss.get(f"{desk_page_of(paid)}refund/approve/"))
    assert "books" in page
    assert "40,00" in page
    assert boss.post(f"{desk_page_of(paid)}refund/approve/", {"key": asked.key, "approve": "1"}).status_code == 302
    stripe.tell()
    paid.refresh_from_db()
    assert (paid.status, paid.amount_refunded, paid.reviews) == (PaymentStatus.PARTIALLY_REFUNDED, 4000, [])
    named = [change.actor.username for change in paid.changes.all() if change.actor]
    assert named[0] == "books"
    assert set(named[1:]) == {"boss"}


def test_nobody_approves_their_own(paid: Payment) -> None:
    books = signed_in("books", "accountant")
    asked = asked_by(books, paid)
    assert "Approuver et rembourser" not in text_of(books.get(f"{desk_page_of(paid)}refund/approve/"))
    answer = books.post(f"{desk_page_of(paid)}refund/approve/", {"key": asked.key, "approve": "1"}, follow=True)
    assert "une autre personne" in text_of(answer)
    with pytest.raises(OwnRefundError):
        refund_approvals.approve(paid, asked.key, User.objects.get(username="books"))
    assert requests() == 0


def test_approved_twice_it_is_given_once(paid: Payment) -> None:
    asked = asked_by(signed_in("books", "accountant"), paid)
    for name in ("one", "two"):
        signed_in(name, "manager").post(f"{desk_page_of(paid)}refund/approve/", {"key": asked.key, "approve": "1"})
    paid.refresh_from_db()
    assert (requests(), paid.amount_refunded) == (1, 4000)


def test_declined_it_is_over(paid: Payment) -> None:
    asked = asked_by(signed_in("books", "accountant"), paid)
    boss = signed_in("boss", "manager")
    for decision in ("decline", "approve"):
        boss.post(f"{desk_page_of(paid)}refund/approve/", {"key": asked.key, decision: "1"})
    paid.refresh_from_db()
    assert (requests(), paid.reviews, paid.refundable) == (0, [], 5000)


def test_the_front_desk_approves_no_more_than_it_may_refund(paid: Payment, settings: Settings) -> None:
    settings.CLINIC_FRONT_DESK_REFUND_LIMITS = {"eur": 3500}
    asked = asked_by(signed_in("books", "accountant"), paid)
    signed_in("desk2", "front desk").post(f"{desk_page_of(paid)}refund/approve/", {"key": asked.key, "approve": "1"})
    assert requests() == 0


def test_many_small_refunds_do_not_get_around_it(paid: Payment) -> None:
    books = signed_in("books", "accountant")
    books.post(f"{desk_page_of(paid)}refund/", {**REFUND, "amount": "25"})
    paid.refresh_from_db()
    assert paid.amount_refunded == 2500
    books.post(f"{desk_page_of(paid)}refund/", {**REFUND, "amount": "10"})
    paid.refresh_from_db()
    assert (paid.amount_refunded, len(refund_approvals.waiting(paid))) == (2500, 1)


def test_a_form_sent_twice_asks_once(paid: Payment) -> None:
    books = signed_in("books", "accountant")
    for _ in range(2):
        books.post(f"{desk_page_of(paid)}refund/", {**REFUND, "key": "0" * 32})
    assert len(refund_approvals.waiting(paid)) == 1


@pytest.mark.django_db(transaction=True)
def test_eight_who_approve_at_once_refund_once(book: Callable[..., Payment], clerk: User) -> None:
    payment = book()
    deliver(Story(payment).succeeded())
    refund_approvals.request(payment, Order(4000, "duplicate"), clerk, "key")
    bosses = [User.objects.create_user(f"boss{n}", is_superuser=True) for n in range(8)]

    def approve(boss: User) -> None:
        try:
            refund_approvals.approve(payment, "key", boss)
        except StripeUnavailableError:
            pass  # Stripe can't be reached in this test, so the refund stays pending
        finally:
            connection.close()

    threads = [threading.Thread(target=approve, args=(boss,)) for boss in bosses]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    payment.refresh_from_db()
    assert (requests(), payment.amount_refund_pending) == (1, 4000)
