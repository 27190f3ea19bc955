"""Tests of two transactions about one payment on PostgreSQL: the second waits and then sees what the first wrote."""

import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connection, transaction
from pytest_django.fixtures import Settings

from accounts.models import User
from appointments.models import Appointment
from payments.desk import decisions, refund_approvals, till
from payments.desk.giving_back import give_back
from payments.desk.refund_limits import OverLimitError
from payments.desk.refund_orders import Order
from payments.domain.methods import Method
from payments.domain.status import PaymentStatus as S
from payments.domain.status import Review
from payments.gateway.checkout import NotPayableError
from payments.models import Payment
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
    settings.FRONT_DESK_REFUND_LIMITS = {"eur": 6000}
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
    settings.REFUND_APPROVAL_LIMITS = {"eur": 100}
    settings.FRONT_DESK_REFUND_LIMITS = {"eur": 6000}
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
