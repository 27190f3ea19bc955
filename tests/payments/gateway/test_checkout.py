"""Tests of opening and expiring Checkout Sessions, with HTTP requests to the sandbox."""

import datetime
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import pytest
import time_machine
from django.db import connection, transaction
from django.test import Client
from django.utils import timezone

from accounts.models import User
from payments.desk import till
from payments.domain.methods import Method
from payments.domain.status import PaymentStatus as S
from payments.gateway import checkout, client
from payments.gateway.client import StripeUnavailableError
from payments.gateway.reconcile import ask_stripe, confirm_return
from payments.ledger import Source
from payments.models import Payment, QuarantinedObject
from payments.models.installation import own_site_id
from tests.payments.sandbox import StripeAtHome, open_checkout

pytestmark = pytest.mark.django_db


def test_checkout_opens_for_what_is_due_and_tells_stripe_only_the_address(
    payment: Payment, stripe: StripeAtHome
) -> None:
    session_id = open_checkout(payment)
    session = stripe.session(session_id)
    assert (session["amount_total"], session["currency"], session["locale"]) == (5000, "eur", "fr")
    (fact,) = payment.facts.all()
    named = {"site": own_site_id(), "payment_id": str(payment.public_id), "attempt": fact.attempt}
    assert (session["metadata"], len(fact.attempt)) == (named, 22)
    assert payment.status == S.CHECKOUT_OPEN
    patient = payment.appointment.patient
    assert session["customer_email"] == patient.email
    sent = stripe.page(session_id) + str(session)
    for secret in (patient.last_name, payment.appointment.service, payment.appointment.practitioner.specialty):
        assert secret not in sent
    assert patient.email not in str([session["metadata"], session["success_url"], session["cancel_url"]])


@pytest.mark.parametrize(
    ("language", "line"),
    [
        ("fr", "Rendez-vous avec Dr Anne Mercier, 14 mars 2027 ({})"),
        ("en", "Appointment with Dr Anne Mercier, 14 March 2027 ({})"),
    ],
)
def test_the_page_names_the_practitioner_and_the_day_in_the_clinics_time(
    book: Callable[..., Payment], stripe: StripeAtHome, language: str, line: str
) -> None:
    late = datetime.datetime(2027, 3, 13, 23, 30, tzinfo=datetime.UTC)  # 00:30 on the next day in Paris
    payment = book(start=late, end=late + datetime.timedelta(minutes=30))
    page = stripe.page(open_checkout(payment, language=language))
    assert line.format(payment.appointment.reference) in page


@pytest.mark.parametrize("email", ["", "camille", "camille@", "camille@localhost ", "c@exämple.com", "a b@example.com"])
def test_an_address_that_stripe_would_refuse_is_left_out(payment: Payment, stripe: StripeAtHome, email: str) -> None:
    User.objects.filter(pk=payment.appointment.patient_id).update(email=email)
    payment = Payment.objects.with_appointment().get(pk=payment.pk)
    assert stripe.session(open_checkout(payment))["customer_email"] is None


def test_paying_there_marks_the_payment_paid_once(payment: Payment, stripe: StripeAtHome) -> None:
    session_id = open_checkout(payment)
    stripe.do("pay", session=session_id)
    assert set(stripe.tell()) <= {"applied", "no_change", "ignored_type"}
    payment.refresh_from_db()
    assert (payment.status, payment.amount_received, payment.method) == (S.PAID, 5000, "card")
    assert [change.to_status for change in payment.changes.all() if change.moved] == [S.CHECKOUT_OPEN, S.PAID]


def test_a_declined_card_leaves_the_page_open_and_says_so(payment: Payment, stripe: StripeAtHome) -> None:
    session_id = open_checkout(payment)
    stripe.do("pay", session=session_id, outcome="declined")
    stripe.tell()
    payment.refresh_from_db()
    assert (payment.status, payment.attempt, payment.failure_code) == (S.CHECKOUT_OPEN, "failed", "generic_decline")
    stripe.do("pay", session=session_id)
    stripe.tell()
    payment.refresh_from_db()
    assert (payment.status, payment.failure_code) == (S.PAID, "")


def test_another_click_leads_to_the_page_that_is_open(payment: Payment, stripe: StripeAtHome) -> None:
    first, second = open_checkout(payment), open_checkout(payment)
    assert first == second
    assert stripe.session(first)["status"] == "open"
    assert payment.status == S.CHECKOUT_OPEN


@pytest.mark.parametrize("age", [0, 49, 51])
def test_a_page_that_ends_soon_is_not_used_again(payment: Payment, stripe: StripeAtHome, age: int) -> None:
    first = open_checkout(payment)
    with time_machine.travel(timezone.now() + datetime.timedelta(minutes=age)):
        stripe.do("clock", offset=age * 60)
        second = open_checkout(payment)
    assert (first == second) == (age < 50)
    assert stripe.session(first)["status"] == ("open" if first == second else "expired")


def change_price(payment: Payment) -> None:
    payment.appointment.price_amount = 6000
    payment.appointment.save()


def change_day(payment: Payment) -> None:
    payment.appointment.start += datetime.timedelta(days=1)
    payment.appointment.end += datetime.timedelta(days=1)
    payment.appointment.save()


def change_address(payment: Payment) -> None:
    User.objects.filter(pk=payment.appointment.patient_id).update(email="other@example.com")


def forget(payment: Payment) -> None:
    """Delete what the payment knows of its opened Checkout pages, as if an older version of this site opened them."""
    Payment.objects.update(checkouts=[])


def change_patient(payment: Payment) -> None:
    payment.appointment.patient = User.objects.create_user("zoe", "zoe@example.com")
    payment.appointment.save()


@pytest.mark.parametrize("change", [change_price, change_day, change_address, change_patient, forget])
def test_a_page_with_other_terms_is_closed_before_another_one_is_shown(
    payment: Payment, stripe: StripeAtHome, change: Callable[[Payment], None]
) -> None:
    first = open_checkout(payment)
    change(payment)
    payment = Payment.objects.with_appointment().get(pk=payment.pk)
    second = open_checkout(payment)
    assert [stripe.session(session_id)["status"] for session_id in (first, second)] == ["expired", "open"]
    assert stripe.session(second)["amount_total"] == payment.price


def test_correcting_the_patient_closes_the_page_that_the_wrong_patient_has_open(
    payment: Payment, stripe: StripeAtHome, django_capture_on_commit_callbacks: Any
) -> None:
    session_id = open_checkout(payment)
    with django_capture_on_commit_callbacks(execute=True):
        change_patient(payment)
    assert stripe.session(session_id)["status"] == "expired"


def test_a_page_in_another_language_replaces_the_open_one(payment: Payment, stripe: StripeAtHome) -> None:
    first, second = open_checkout(payment, language="fr"), open_checkout(payment, language="en")
    assert [stripe.session(session_id)["status"] for session_id in (first, second)] == ["expired", "open"]


def test_of_two_clicks_at_once_the_page_that_came_first_is_the_one_for_both(
    payment: Payment, stripe: StripeAtHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two clicks on "Pay" at once lead to one page, and only one Checkout Session stays open.

    The test makes the second click just before the first click's call to Stripe.
    """
    urls: list[str] = []
    create = client.call

    def overtaken(request: Callable) -> tuple:  # type: ignore[type-arg]
        monkeypatch.setattr(checkout, "call", create)
        urls.append(open_checkout(payment))
        return create(request)

    monkeypatch.setattr(checkout, "call", overtaken)
    urls.append(open_checkout(payment))
    assert urls[0] == urls[1]
    assert payment.facts.filter(kind="session", status="open").count() == 1


def test_a_page_whose_price_changes_while_it_is_opened_is_closed(
    payment: Payment, stripe: StripeAtHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the price changes while a Checkout page is opened, nobody gets the page, and no Checkout Session stays open.

    The test changes the price just before the call to Stripe.
    """
    create = client.call

    def overtaken(request: Callable) -> tuple:  # type: ignore[type-arg]
        monkeypatch.setattr(checkout, "call", create)
        change_price(payment)
        return create(request)

    monkeypatch.setattr(checkout, "call", overtaken)
    with pytest.raises(checkout.NotPayableError):
        open_checkout(payment)
    assert not payment.facts.filter(kind="session", status="open").exists()


def test_of_two_clicks_at_once_in_two_languages_the_page_that_came_first_stays_open(
    payment: Payment, stripe: StripeAtHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    create = client.call

    def overtaken(request: Callable) -> tuple:  # type: ignore[type-arg]
        monkeypatch.setattr(checkout, "call", create)
        opened.append(open_checkout(payment, language="en"))
        return create(request)

    monkeypatch.setattr(checkout, "call", overtaken)
    with pytest.raises(checkout.NotPayableError):
        open_checkout(payment, language="fr")
    assert [stripe.session(session_id)["status"] for session_id in opened] == ["open"]
    assert payment.facts.filter(kind="session", status="open").count() == 1


def test_a_new_session_with_an_unknown_status_is_quarantined_and_leads_nowhere(
    as_patient: Client, payment: Payment, stripe: StripeAtHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    def strange(request: Callable) -> tuple:  # type: ignore[type-arg]
        answer, as_of = client.call(request)
        return {**answer, "status": "melting"}, as_of

    monkeypatch.setattr(checkout, "call", strange)
    answer = as_patient.post(f"/payments/{payment.public_id}/pay/")
    assert answer["Location"].endswith(f"/appointments/{payment.appointment.reference}/")
    assert "melting" in QuarantinedObject.objects.get().reason


def test_no_second_page_is_opened_beside_one_whose_status_is_unknown(
    as_patient: Client, payment: Payment, stripe: StripeAtHome
) -> None:
    """The site can't know whether a Checkout Session with an unknown status is paid, so it opens no other page."""
    session_id = open_checkout(payment, language="en")
    stripe.do("status", object=session_id, status="melting", event="")
    answer = as_patient.post(f"/payments/{payment.public_id}/pay/")
    assert answer["Location"].endswith(f"/appointments/{payment.appointment.reference}/")
    assert QuarantinedObject.objects.get().stripe_id == session_id
    assert payment.facts.filter(kind="session").count() == 1


@pytest.mark.postgres(only=True)
@pytest.mark.django_db(transaction=True)
def test_many_clicks_at_once_lead_to_one_page(payment: Payment, stripe: StripeAtHome) -> None:
    def click(number: int) -> str:
        try:
            return open_checkout(Payment.objects.with_appointment().get(pk=payment.pk))
        finally:
            connection.close()

    with ThreadPoolExecutor(6) as pool:
        urls = set(pool.map(click, range(6)))
    assert len(urls) == 1
    assert payment.facts.filter(kind="session", status="open").count() == 1


def test_a_page_in_another_language_is_not_opened_once_the_first_is_paid(
    payment: Payment, stripe: StripeAtHome
) -> None:
    stripe.do("pay", session=open_checkout(payment, language="fr"))
    with pytest.raises(checkout.NotPayableError):  # although no webhook has been delivered
        open_checkout(payment, language="en")
    payment.refresh_from_db()
    assert (payment.status, len(payment.checkouts)) == (S.PAID, 1)


def test_only_a_few_pages_are_opened_within_an_hour(payment: Payment, stripe: StripeAtHome) -> None:
    languages = ["fr", "en"] * checkout.MOST_PAGES
    with time_machine.travel(timezone.now(), tick=False) as clock:
        for language in languages[: checkout.MOST_PAGES]:
            open_checkout(payment, language=language)
            clock.shift(60)
        for _ in range(3):
            with pytest.raises(checkout.TooManyPagesError) as refused:
                open_checkout(payment)
        last = open_checkout(payment, language="en")  # is still open
        assert stripe.session(last)["status"] == "open"
        clock.move_to(refused.value.again_at - datetime.timedelta(seconds=1))
        with pytest.raises(checkout.TooManyPagesError):
            open_checkout(payment)
        clock.move_to(refused.value.again_at)
        stripe.do("clock", offset=51 * 60)
        assert open_checkout(payment) != last
    assert payment.facts.filter(kind="session").count() == checkout.MOST_PAGES + 1


def test_an_outage_of_stripe_does_not_use_up_the_pages_of_the_hour(payment: Payment, stripe: StripeAtHome) -> None:
    stripe.do("api", mode="error500")
    for _ in range(checkout.MOST_PAGES + 1):
        with pytest.raises(StripeUnavailableError):
            open_checkout(payment)
    stripe.do("api", mode="ok")
    assert open_checkout(payment)


def test_names_of_attempts_sort_by_time_and_never_repeat() -> None:
    names = []
    for second in range(200):
        with time_machine.travel(second * 10_000_000, tick=False):
            names += sorted(checkout.new_attempt() for _ in range(3))
    assert names == sorted(names)
    assert len(set(names)) == len(names)


def test_after_a_restore_an_attempt_is_a_new_one_though_the_old_one_is_forgotten(
    payment: Payment, stripe: StripeAtHome
) -> None:
    backup = transaction.savepoint()
    lost = open_checkout(payment)
    transaction.savepoint_rollback(backup)
    payment.refresh_from_db()
    again = open_checkout(payment)
    assert again != lost
    stripe.do("pay", session=lost)
    stripe.tell()
    payment.refresh_from_db()
    assert (payment.status, payment.amount_overpaid) == (S.PAID, 0)
    attempts = payment.facts.filter(kind="session").values_list("stripe_id", "attempt")
    assert len({name for _, name in attempts}) == len(attempts) == 2


def test_a_paid_payment_cannot_be_paid_again(payment: Payment, stripe: StripeAtHome) -> None:
    stripe.do("pay", session=open_checkout(payment))
    with pytest.raises(checkout.NotPayableError):  # although no webhook has been delivered
        open_checkout(payment)
    payment.refresh_from_db()
    assert payment.status == S.PAID


def test_stripe_out_of_reach_is_said_and_leaves_the_payment_payable(payment: Payment, stripe: StripeAtHome) -> None:
    stripe.do("api", mode="error500")
    with pytest.raises(StripeUnavailableError):
        open_checkout(payment)
    stripe.do("api", mode="ok")
    assert open_checkout(payment)


def test_cash_at_the_desk_expires_the_open_page(payment: Payment, stripe: StripeAtHome, clerk: User) -> None:
    session_id = open_checkout(payment)
    till.take_payment(payment, 5000, Method.CASH, clerk, key=uuid4().hex)
    assert stripe.session(session_id)["status"] == "expired"
    payment.refresh_from_db()
    assert payment.status == S.PAID
    with pytest.raises(checkout.NotPayableError):
        till.take_payment(payment, 5000, Method.CASH, clerk, key=uuid4().hex)


def test_the_same_form_sent_twice_takes_cash_once(payment: Payment, clerk: User) -> None:
    for _ in range(2):
        till.take_payment(payment, 2000, Method.CASH, clerk, key="c0ffee")
    payment.refresh_from_db()
    assert (payment.status, payment.amount_received, payment.amount_owed) == (S.UNDERPAID, 2000, 3000)


def test_nobody_is_sent_to_checkout_while_a_bank_debit_is_under_way(payment: Payment, stripe: StripeAtHome) -> None:
    stripe.do("pay", session=open_checkout(payment), outcome="processing")
    stripe.tell()
    with pytest.raises(checkout.NotPayableError):
        open_checkout(payment)


@pytest.mark.django_db(transaction=True)
def test_canceling_the_appointment_expires_the_open_page(payment: Payment, stripe: StripeAtHome) -> None:
    session_id = open_checkout(payment)
    payment.appointment.status = "canceled"
    payment.appointment.save()
    assert stripe.session(session_id)["status"] == "expired"
    payment.refresh_from_db()
    assert payment.status == S.VOID


def test_the_return_page_asks_stripe_when_no_webhook_came(payment: Payment, stripe: StripeAtHome) -> None:
    session_id = open_checkout(payment)
    stripe.do("pay", session=session_id)
    assert confirm_return(payment, session_id)
    ask_stripe(payment, Source.RETURN_PAGE)
    payment.refresh_from_db()
    assert payment.status == S.PAID
    assert payment.changes.filter(to_status=S.PAID, source="return_page").count() == 1
    assert set(stripe.tell()) <= {"no_change", "ignored_type"}


def test_a_return_with_somebody_elses_session_is_not_ours(book: Callable[..., Payment], stripe: StripeAtHome) -> None:
    mine, other = book(), book()
    assert not confirm_return(mine, open_checkout(other))


@pytest.mark.parametrize(
    ("currency", "price", "cash"), [("eur", 5000, 4970), ("gbp", 5000, 4971), ("jpy", 5000, 4951), ("kwd", 50_000, 5)]
)
def test_a_rest_that_stripe_does_not_charge_is_left_to_the_desk(
    book: Callable[..., Payment], stripe: StripeAtHome, clerk: User, currency: str, price: int, cash: int
) -> None:
    payment = book(amount=price, currency=currency)
    session_id = open_checkout(payment)
    till.take_payment(payment, cash, Method.CASH, clerk, key=uuid4().hex)
    payment.refresh_from_db()
    assert (payment.amount_owed, payment.payable_online) == (price - cash, False)
    assert stripe.session(session_id)["status"] == "expired"
    with pytest.raises(checkout.NotPayableError):
        open_checkout(payment)
    till.take_payment(payment, payment.amount_owed, Method.CASH, clerk, key=uuid4().hex)
    payment.refresh_from_db()
    assert payment.status == S.PAID


def test_all_is_asked_when_too_little_is_left_of_the_deposit(book: Callable[..., Payment], clerk: User) -> None:
    payment = book(amount=5000, deposit_amount=2000)
    assert payment.to_ask == 2000
    till.take_payment(payment, 1980, Method.CASH, clerk, key=uuid4().hex)
    payment.refresh_from_db()
    assert (payment.to_ask, payment.payable_online) == (3020, True)
