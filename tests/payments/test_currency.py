"""Tests that an appointment's currency can't change once money was paid, or while the patient may be paying."""

from collections.abc import Callable
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.test import Client

from accounts.models import User
from appointments.models import Appointment
from payments.desk import till
from payments.domain.methods import Method
from payments.models import Payment
from tests.payments.sandbox import StripeAtHome, open_checkout
from tests.payments.stripe_story import Event, Story, deliver
from tests.payments.test_admin import admin_client, errors_of, manager, save
from tests.payments.test_concurrency import waiting

__all__ = ["admin_client", "manager"]
Told = Callable[[Story], list[Event]]


HELD: dict[str, Told] = {
    "instructions": lambda s: [s.completed(payment_status="unpaid"), s.requires_action()],
    "debit": lambda s: [s.completed(payment_status="unpaid"), s.processing()],
    "paid": lambda s: [s.completed()],
    "charged": lambda s: [s.charged()],
    "refunded": lambda s: [s.succeeded(), s.charged(), s.refund(5000)],
    "disputed": lambda s: [s.charged(), s.dispute("needs_response")],
    "lost": lambda s: [s.charged(), s.dispute("lost", "closed")],
}
FREE: dict[str, Told] = {
    "nothing": lambda s: [],
    "expired": lambda s: [s.expired()],
    "failed": lambda s: [s.completed(payment_status="unpaid"), s.processing(), s.async_failed()],
    "canceled": lambda s: [s.canceled()],
}


def currency_of(payment: Payment) -> tuple[str, str]:
    payment.refresh_from_db()
    return payment.currency, Appointment.objects.get(pk=payment.appointment_id).currency


def assert_refused(payment: Payment, admin_client: Client) -> None:
    answer = save(admin_client, payment.appointment, currency="chf")
    assert list(errors_of(answer)) == ["currency"]
    assert "devise" in errors_of(answer)["currency"][0]
    payment.appointment.currency = "chf"
    with pytest.raises(ValidationError):
        payment.appointment.save()
    assert currency_of(payment) == ("eur", "eur")


@pytest.mark.django_db
@pytest.mark.parametrize("facts", HELD.values(), ids=HELD)
def test_the_currency_stays_once_money_moved(story: Story, admin_client: Client, facts: Told) -> None:
    for event in facts(story):
        assert deliver(event).status_code == 200
    assert_refused(story.payment, admin_client)


@pytest.mark.django_db
def test_the_currency_stays_while_a_payment_page_is_open(
    payment: Payment, admin_client: Client, stripe: StripeAtHome
) -> None:
    open_checkout(payment)
    assert_refused(payment, admin_client)


@pytest.mark.django_db
@pytest.mark.parametrize("undone", [False, True])
def test_the_currency_stays_after_an_entry_at_the_desk(
    payment: Payment, admin_client: Client, clerk: User, undone: bool
) -> None:
    till.take_payment(payment, 1000, Method.CASH, clerk, key="c0ffee")
    if undone:
        till.reverse(payment, "offline_c0ffee", "typed twice", clerk)
    assert_refused(payment, admin_client)


@pytest.mark.django_db
@pytest.mark.parametrize("facts", FREE.values(), ids=FREE)
def test_the_currency_changes_while_nobody_has_paid(story: Story, admin_client: Client, facts: Told) -> None:
    for event in facts(story):
        assert deliver(event).status_code == 200
    assert save(admin_client, story.payment.appointment, currency="chf").status_code == 302
    assert currency_of(story.payment) == ("chf", "chf")


@pytest.mark.django_db
def test_everything_else_still_changes_after_a_payment(story: Story, admin_client: Client) -> None:
    deliver(story.completed())
    assert save(admin_client, story.payment.appointment, price_amount=6000, service="Contrôle").status_code == 302
    story.payment.refresh_from_db()
    assert (story.payment.price, story.payment.status) == (6000, "underpaid")


@pytest.mark.postgres(only=True)
@pytest.mark.django_db(transaction=True)
def test_the_admin_sees_the_cash_that_it_waited_for(payment: Payment, admin_client: Client, clerk: User) -> None:
    def change() -> Any:
        return save(admin_client, payment.appointment, currency="chf")

    with waiting(change) as answer:
        till.take_payment(payment, 1000, Method.CASH, clerk, key="c0ffee")
    assert list(errors_of(answer.result())) == ["currency"]
    assert currency_of(payment) == ("eur", "eur")
