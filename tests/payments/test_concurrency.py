"""Tests of two transactions about one payment on PostgreSQL: the second waits and then sees what the first wrote."""

import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
import time_machine
from django.core.management import call_command
from django.db import connection, transaction
from django.test import Client
from django.utils import timezone
from pytest_django.fixtures import Settings

from accounts.models import User
from appointments.models import Appointment
from payments.desk import decisions, refund_approvals, till
from payments.desk.closing_report import Report
from payments.desk.closings import Sheet, TillChangedError, open_sheet, seal
from payments.desk.giving_back import give_back
from payments.desk.refund_limits import OverLimitError
from payments.desk.refund_orders import Order
from payments.doctor import database as doctor
from payments.doctor.finding import Level
from payments.domain.methods import Method
from payments.domain.status import PaymentStatus as S
from payments.domain.status import Review
from payments.gateway.checkout import NotPayableError
from payments.gateway.event_types import from_event
from payments.ledger import Cause, Source, record
from payments.models import Closing, Fact, JournalLine, Payment
from payments.models.days import ONE_DAY
from tests.payments.clients import client_of, desk_page_of, signed_in
from tests.payments.sandbox import StripeAtHome, open_checkout
from tests.payments.stripe_story import Event, Story, deliver
from tests.waits import wait_until

pytestmark = [pytest.mark.postgres(only=True), pytest.mark.django_db(transaction=True)]
DUE = 5000
Book = Callable[..., Payment]


def locks_waited_for() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
        return int(cursor.fetchone()[0])


@contextmanager
def waiting(work: Callable[[], Any]) -> Iterator[Future[Any]]:
    """Run the `with` block in a transaction; then start `work` in a thread, wait until a lock stops it, and commit.

    Yields the future of `work`, whose result may be read after the block.
    """

    def in_thread() -> Any:
        try:
            return work()
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as pool:
        future: Future[Any] = Future()
        with transaction.atomic():
            yield future
            running = pool.submit(in_thread)
            wait_until(lambda: running.done() or locks_waited_for() > 0, "the second transaction waits for a lock")
            assert not running.done(), "the second transaction didn't wait"
        try:
            future.set_result(running.result())
        except Exception as error:  # noqa: BLE001 the test reads it from the future
            future.set_exception(error)


def posted(event: Event) -> Callable[[], int]:
    return lambda: int(deliver(event).status_code)


def result(payment: Payment) -> tuple[str, list[str]]:
    payment.refresh_from_db()
    return payment.status, payment.reviews


def change(payment: Payment, **fields: Any) -> None:
    """Change the payment's appointment and save it."""
    appointment = Appointment.objects.get(pk=payment.appointment_id)
    for name, value in fields.items():
        setattr(appointment, name, value)
    appointment.save()


@pytest.mark.parametrize(
    ("fields", "status", "review"),
    [
        ({"status": Appointment.Status.CANCELED}, S.PAID, Review.PAID_AFTER_CANCEL),
        ({"price_amount": 6000}, S.UNDERPAID, Review.PRICE_CHANGED),
        ({"price_amount": 4000}, S.PAID, Review.PRICE_CHANGED),
        ({"status": Appointment.Status.CANCELED, "fee_amount": DUE}, S.PAID, None),
    ],
    ids=["canceled", "dearer", "cheaper", "canceled with a fee"],
)
def test_a_payment_sees_a_change_of_its_appointment_that_it_waited_for(
    story: Story, fields: dict[str, Any], status: S, review: Review | None
) -> None:
    with waiting(posted(story.succeeded())) as answer:
        change(story.payment, **fields)
    assert answer.result() == 200
    assert result(story.payment) == (status, [review] if review else [])


def test_a_payment_sees_that_its_slot_was_sold_meanwhile(story: Story, book: Book) -> None:
    change(story.payment, status=Appointment.Status.CANCELED)
    appointment = Appointment.objects.get(pk=story.payment.appointment_id)
    with waiting(posted(story.succeeded())):
        book(start=appointment.start, end=appointment.end)
    assert result(story.payment) == (S.PAID, [Review.SLOT_LOST])


def test_a_payment_sees_the_practitioner_whom_it_waited_for(story: Story, book: Book) -> None:
    """A payment that arrives while its canceled visit moves to a free practitioner doesn't report the slot as lost."""
    change(story.payment, status=Appointment.Status.CANCELED)
    appointment = Appointment.objects.get(pk=story.payment.appointment_id)
    book(start=appointment.start, end=appointment.end)
    free = type(appointment.practitioner).objects.create(name="Dr Paul Free", specialty="Care")
    with waiting(posted(story.succeeded())):
        change(story.payment, practitioner=free)
    assert result(story.payment) == (S.PAID, [Review.PAID_AFTER_CANCEL])


def test_a_card_payment_sees_the_cash_that_was_taken_meanwhile(story: Story, clerk: User) -> None:
    with waiting(posted(story.succeeded())):
        till.take_payment(story.payment, DUE, Method.CASH, clerk, key=uuid.uuid4().hex)
    assert result(story.payment) == (S.PAID, [Review.DOUBLE_PAYMENT])


def test_cash_isnt_taken_for_what_a_card_has_just_paid(story: Story, clerk: User) -> None:
    def take() -> None:
        till.take_payment(story.payment, DUE, Method.CASH, clerk, key=uuid.uuid4().hex)

    event = story.succeeded()
    with waiting(take) as taken:
        assert deliver(event).status_code == 200
    assert isinstance(taken.exception(), NotPayableError)
    assert result(story.payment) == (S.PAID, [])


def test_two_gifts_of_one_note_give_it_once(story: Story, clerk: User) -> None:
    """If two tabs give the same cash back at once, the money is given back once, and the second tab gets an error."""
    till.take_payment(story.payment, DUE, Method.CASH, clerk, key=uuid.uuid4().hex)
    order = Order(DUE, "duplicate", Method.CASH)
    with waiting(lambda: give_back(story.payment, order, clerk, key=uuid.uuid4().hex)) as second:
        give_back(story.payment, order, clerk, key=uuid.uuid4().hex)
    assert second.exception() is not None
    story.payment.refresh_from_db()
    assert story.payment.amount_refunded == DUE


def test_a_limit_counts_the_refund_that_was_waited_for(book: Book, clerk: User, settings: Settings) -> None:
    settings.CLINIC_FRONT_DESK_REFUND_LIMITS = {"eur": 6000}
    payment = book(10000)
    till.take_payment(payment, 10000, Method.CASH, clerk, key=uuid.uuid4().hex)
    order = Order(4000, "duplicate", Method.CASH)
    with waiting(lambda: give_back(payment, order, clerk, key=uuid.uuid4().hex)) as second:
        give_back(payment, order, clerk, key=uuid.uuid4().hex)
    assert isinstance(second.exception(), OverLimitError)
    payment.refresh_from_db()
    assert payment.amount_refunded == 4000


def test_two_approvals_at_once_stay_within_the_limit(
    book: Book, clerk: User, settings: Settings, django_user_model: type[User]
) -> None:
    settings.CLINIC_REFUND_APPROVAL_LIMITS = {"eur": 100}
    settings.CLINIC_FRONT_DESK_REFUND_LIMITS = {"eur": 6000}
    payment = book(10000)
    till.take_payment(payment, 10000, Method.CASH, clerk, key=uuid.uuid4().hex)
    keys = [uuid.uuid4().hex, uuid.uuid4().hex]
    for key in keys:
        assert not give_back(payment, Order(4000, "duplicate", Method.CASH), clerk, key=key)
    colleague = django_user_model.objects.create_user("colleague", is_staff=True)
    colleague.groups.set(clerk.groups.all())
    with waiting(lambda: refund_approvals.approve(payment, keys[1], colleague)) as second:
        refund_approvals.approve(payment, keys[0], colleague)
    assert isinstance(second.exception(), OverLimitError)
    payment.refresh_from_db()
    assert (payment.amount_refunded, payment.reviews) == (4000, [Review.REFUND_APPROVAL])


def test_money_of_a_canceled_visit_is_kept_while_a_payment_arrives(story: Story, clerk: User) -> None:
    """If money arrives while staff keep a canceled visit's money as a fee, the new money isn't kept but reviewed."""
    deliver(story.completed("A"))
    change(story.payment, status=Appointment.Status.CANCELED)
    with waiting(posted(story.succeeded("B"))):
        decisions.keep_as_fee(story.payment, clerk)
    assert result(story.payment) == (S.PAID, [Review.PAID_AFTER_CANCEL])
    assert (story.payment.amount_due, story.payment.amounts.net) == (DUE, 2 * DUE)


# Closing the till


def sealed_by(clerk: User, sheet: Sheet) -> Closing:
    assert sheet.day
    return seal(sheet.day, {}, [], "", clerk, seen=sheet.fingerprint)


def test_cash_that_is_taken_while_a_closing_is_sealed_is_in_the_next_one(story: Story, clerk: User) -> None:
    till.take_payment(story.payment, 1000, Method.CASH, clerk, key=uuid.uuid4().hex)

    def take() -> None:
        till.take_payment(story.payment, 500, Method.CASH, clerk, key=uuid.uuid4().hex)

    with waiting(take):
        closing = sealed_by(clerk, open_sheet())
    assert [entry.amount for entry in Report(closing.content).entries] == [1000]
    assert list(closing.entries.values_list("amount", flat=True)) == [1000]
    assert list(Fact.objects.open_entries().values_list("amount", flat=True)) == [500]
    assert open_sheet().later == 1


def test_a_closing_isnt_sealed_without_the_cash_that_it_waited_for(story: Story, clerk: User) -> None:
    """If a second screen takes cash while a closing is being sealed, the person sees it before signing."""
    till.take_payment(story.payment, 1000, Method.CASH, clerk, key=uuid.uuid4().hex)
    sheet = open_sheet()
    with waiting(lambda: sealed_by(clerk, sheet)) as closing:
        till.take_payment(story.payment, 500, Method.CASH, clerk, key=uuid.uuid4().hex)
    assert isinstance(closing.exception(), TillChangedError)
    assert {entry.amount for entry in Report(sealed_by(clerk, open_sheet()).content).entries} == {500, 1000}


def test_money_given_back_and_mistakes_wait_for_a_closing_too(story: Story, clerk: User) -> None:
    key = uuid.uuid4().hex
    till.take_payment(story.payment, 1000, Method.CASH, clerk, key=key)
    order = Order(500, "duplicate", Method.CASH)
    with waiting(lambda: give_back(story.payment, order, clerk, key=uuid.uuid4().hex)):
        closing = sealed_by(clerk, open_sheet())
    assert closing.entries.count() == Fact.objects.open_entries().count() == 1
    given = Fact.objects.open_entries().get()
    till.reverse(story.payment, given.stripe_id, "x", clerk)
    assert Fact.objects.open_entries().count() == 2


def test_entries_do_not_wait_for_each_other(book: Book, clerk: User) -> None:
    one, other = book(), book()
    with ThreadPoolExecutor(1) as pool, transaction.atomic():
        till.take_payment(one, 1000, Method.CASH, clerk, key=uuid.uuid4().hex)

        def take() -> None:
            try:
                till.take_payment(other, 1000, Method.CASH, clerk, key=uuid.uuid4().hex)
            finally:
                connection.close()

        running = pool.submit(take)
        wait_until(lambda: running.done() or locks_waited_for() > 0, "the second entry is recorded or waits")
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'advisory'")
            assert cursor.fetchone() == (0,)
    assert running.exception() is None


def online(sheet: Sheet) -> list[int]:
    return [entry.amount for entry in sheet.moved.entries]


def test_a_refund_that_waits_for_a_closing_is_in_the_next_one(story: Story, clerk: User) -> None:
    deliver(story.charged())
    with waiting(posted(story.refund(1000))):
        closing = sealed_by(clerk, open_sheet())
    assert [entry.amount for entry in Report(closing.content).online] == [5000]
    with time_machine.travel(timezone.now() + ONE_DAY):
        assert online(open_sheet()) == [-1000]


def test_a_closing_does_not_wait_for_webhooks_and_loses_nothing_by_that(story: Story, clerk: User) -> None:
    """While a webhook replaces the journal's lines, a closing holds the stored ones, and the next closing the rest."""
    deliver(story.charged())
    refund = story.refund(1000)
    with ThreadPoolExecutor(1) as pool, transaction.atomic():
        record(from_event(refund), Cause(Source.WEBHOOK))

        def close() -> Closing:
            try:
                return sealed_by(clerk, open_sheet())
            finally:
                connection.close()

        closing = pool.submit(close).result(timeout=10)
    assert [entry.amount for entry in Report(closing.content).online] == [5000]
    with time_machine.travel(timezone.now() + ONE_DAY):
        assert online(open_sheet()) == [-1000]
        sealed_by(clerk, open_sheet())
        assert not JournalLine.objects.filter(is_open=True).exists()


def test_two_people_seal_a_day_once(story: Story, clerk: User) -> None:
    till.take_payment(story.payment, 1000, Method.CASH, clerk, key=uuid.uuid4().hex)
    sheet = open_sheet()
    with waiting(lambda: sealed_by(clerk, sheet)) as second:
        sealed_by(clerk, sheet)
    assert isinstance(second.exception(), TillChangedError)
    assert Closing.objects.get().number == 1


# Through the pages


def posted_to(client: Client, payment: Payment, page: str, **fields: str) -> Callable[[], int]:
    """Return a function that posts `fields` to a page of the desk about the payment, and returns the HTTP status.

    The desk's page is opened at once, because noting that somebody opens a payment waits for the payment's lock, too.
    """
    client.get(desk_page_of(payment))
    return lambda: int(client.post(f"{desk_page_of(payment)}{page}", {"key": uuid.uuid4().hex, **fields}).status_code)


CASH = {"method": "cash", "amount": "50"}
TO_STRIPE = {"through": "stripe", "amount": "50", "reason": "duplicate", "confirmed": "1"}
IN_CASH = TO_STRIPE | {"through": "cash", "amount": "30"}


@pytest.mark.parametrize(
    ("page", "fields", "status", "reviews"),
    [
        ("cancel/", {"fee": "0"}, S.PAID, [Review.PAID_AFTER_CANCEL]),
        ("cancel/", {"fee": "50"}, S.PAID, []),
        ("take/", CASH, S.PAID, [Review.DOUBLE_PAYMENT]),
        ("decide/stop-asking/", {"reason": "x"}, S.PAID, []),
    ],
    ids=["cancel", "cancel with a fee", "cash", "stop asking"],
)
def test_a_payment_sees_what_the_desk_did_meanwhile(
    story: Story, page: str, fields: dict[str, str], status: S, reviews: list[Review]
) -> None:
    desk = posted_to(signed_in("books", "accountant"), story.payment, page, **fields)
    with waiting(posted(story.succeeded())) as answer:
        assert desk() == 302
    assert answer.result() == 200
    assert result(story.payment) == (status, reviews)


@pytest.mark.parametrize(
    ("page", "fields", "code", "status", "reviews"),
    [
        ("cancel/", {"fee": "0"}, 302, S.PAID, [Review.PAID_AFTER_CANCEL]),
        ("take/", CASH, 409, S.PAID, []),
        ("decide/stop-asking/", {"reason": "x"}, 302, S.PAID, []),
    ],
    ids=["cancel", "cash", "stop asking"],
)
def test_the_desk_sees_what_was_paid_meanwhile(
    story: Story, page: str, fields: dict[str, str], code: int, status: S, reviews: list[Review]
) -> None:
    desk = posted_to(signed_in("books", "accountant"), story.payment, page, **fields)
    event = story.succeeded()
    with waiting(desk) as answer:
        assert deliver(event).status_code == 200
    assert answer.result() == code
    assert result(story.payment) == (status, reviews)
    assert (story.payment.amount_received, story.payment.amount_waived) == (DUE, 0)


def test_no_refund_goes_to_stripe_once_a_dispute_is_open(story: Story) -> None:
    deliver(story.succeeded())
    desk, event = (
        posted_to(signed_in("books", "accountant"), story.payment, "refund/", **TO_STRIPE),
        story.dispute("needs_response"),
    )
    with waiting(desk) as answer:
        assert deliver(event).status_code == 200
    assert answer.result() == 409
    assert result(story.payment) == (S.DISPUTED, [Review.DISPUTE_DEADLINE])
    assert not story.payment.facts.filter(stripe_id__startswith="request_").exists()


def test_one_note_is_neither_given_back_nor_corrected_twice(story: Story, clerk: User) -> None:
    """An entry whose money is given back meanwhile can't be declared a mistake, and the other way round."""
    books = signed_in("books", "accountant")
    till.take_payment(story.payment, DUE, Method.CASH, clerk, key="c0ffee")
    mistake = posted_to(books, story.payment, "mistake/offline_c0ffee/", reason="x")
    with waiting(mistake) as answer:
        assert posted_to(books, story.payment, "refund/", **IN_CASH)() == 302
    assert answer.result() == 409
    story.payment.refresh_from_db()
    assert story.payment.amounts.net == 2000
    given = story.payment.facts.get(kind="desk_refund").stripe_id
    assert posted_to(books, story.payment, f"mistake/{given}/", reason="x")() == 302
    with waiting(posted_to(books, story.payment, "refund/", **IN_CASH)) as answer:
        assert mistake() == 302
    assert answer.result() == 409
    story.payment.refresh_from_db()
    assert (story.payment.amounts.net, story.payment.amount_refunded) == (0, 0)


def test_a_clerk_gives_up_no_more_than_the_limit_by_two_clicks(book: Book, clerk: User, settings: Settings) -> None:
    """Two clicks on "Stop asking" in two tabs, for a payment that is owed again, count once."""
    settings.CLINIC_FRONT_DESK_REFUND_LIMITS = {"eur": DUE}
    payment, client = book(), client_of(clerk)
    stop = posted_to(client, payment, "decide/stop-asking/", reason="x")
    with waiting(posted_to(client, payment, "decide/stop-asking/", reason="x")) as answer:
        assert stop() == 302
    assert answer.result() == 302
    payment.refresh_from_db()
    assert (payment.amount_waived, payment.amount_owed) == (DUE, 0)
    assert payment.facts.filter(status="written_off").count() == 1


def test_a_refund_that_is_declined_is_not_approved_by_a_second_person(
    story: Story, clerk: User, settings: Settings
) -> None:
    settings.CLINIC_REFUND_APPROVAL_LIMITS = {"eur": 100}
    till.take_payment(story.payment, DUE, Method.CASH, clerk, key="c0ffee")
    key = uuid.uuid4().hex
    assert not give_back(story.payment, Order(DUE, "duplicate", Method.CASH), clerk, key=key)
    one, other = signed_in("one", "manager"), signed_in("other", "manager")
    with waiting(posted_to(one, story.payment, "refund/approve/", key=key, approve="1")):
        assert posted_to(other, story.payment, "refund/approve/", key=key, decline="1")() == 302
    story.payment.refresh_from_db()
    assert (story.payment.amount_refunded, story.payment.reviews) == (0, [])


@pytest.mark.parametrize("first", ["cancel", "resell"])
def test_a_slot_sold_while_it_is_canceled_is_lost_whichever_comes_first(story: Story, book: Book, first: str) -> None:
    """Cancelling a paid visit and booking its time at one moment ends in one review, whichever transaction is first."""
    deliver(story.succeeded())
    appointment = Appointment.objects.get(pk=story.payment.appointment_id)
    works: dict[str, Callable[[], object]] = {
        "cancel": posted_to(signed_in("books", "accountant"), story.payment, "cancel/", fee="0"),
        "resell": lambda: book(start=appointment.start, end=appointment.end),
    }
    before = works.pop(first)
    (after,) = works.values()
    with waiting(after):
        before()
    assert result(story.payment) == (S.PAID, [Review.SLOT_LOST])
    assert doctor.standings().level == Level.OK


def test_sweep_and_a_webhook_about_one_payment_record_it_once(payment: Payment, stripe: StripeAtHome) -> None:
    """If a webhook brings a payment while sweep waits with what it read from Stripe, the payment is recorded once."""
    stripe.do("pay", session=open_checkout(payment))
    with waiting(lambda: call_command("sweep", "--quiet-for", "0")):
        stripe.tell()
    assert result(payment) == (S.PAID, [])
    assert (payment.amount_received, payment.changes.filter(to_status=S.PAID).count()) == (DUE, 1)
