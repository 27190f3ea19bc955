"""The truth table of a payment's money: each row gives Stripe events and the sums, reviews and status they lead to.

The events go through the webhook view. The payment's movements of money must add up to the stored net sum.
"""

import itertools
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from appointments.models import Appointment
from payments.doctor import database as doctor
from payments.doctor.finding import Level
from payments.domain.movements import MovementKind, movements
from payments.domain.status import PaymentStatus as S
from payments.domain.status import Review
from payments.models import Payment
from tests.payments.clients import desk_page_of
from tests.payments.stripe_story import Event, Story, deliver

pytestmark = pytest.mark.django_db
DUE = 5000
Tell = Callable[[Story], list[Event]]


def row(title: str, tell: Tell, status: S, **also: Any) -> Any:
    return pytest.param(tell, status, also, id=title)


def lost(s: Story, amount: int = DUE, **fields: Any) -> list[Event]:
    """Return the events that open a dispute of `amount` cents and close it as lost."""
    opened = s.dispute("needs_response", amount=amount, **fields)
    return [opened, s.dispute("lost", "closed", amount=amount, **fields)]


def intent_without_captured_charge(s: Story) -> list[Event]:
    charge = s.charge("A") | {"captured": False, "amount_captured": 0}
    return [s._event("charge.succeeded", charge), s.succeeded()]


def null_captured(s: Story) -> list[Event]:
    return [s._event("charge.succeeded", s.charge("A") | {"amount_captured": None}), s.completed()]


def partly_captured(s: Story) -> list[Event]:
    charge = s.charge("A") | {"amount_captured": 3000}
    return [s._event("charge.succeeded", charge), s.succeeded(amount=3000)]


def bank_transfer(s: Story) -> list[Event]:
    return [s.completed("A", "unpaid"), s.requires_action("A")]


def earlier_refund_fails(s: Story) -> list[Event]:
    first, second = s.refund(1000), s.refund(2000, name="2")
    return [s.charged(), first, second, s.refund(1000, "failed")]


def refund_repeated(s: Story) -> list[Event]:
    first = s.refund(1000)
    return [s.charged(), first, s.refund(1000, "failed"), s.refund(1000, name="2")]


def foreign_session_lost(s: Story) -> list[Event]:
    paid = [s.charged("A")]
    s.currency = "usd"
    return [*paid, s.charged("B"), s.dispute("lost", "closed", attempt="B")]


def withdrawn(s: Story, *amounts: int) -> list[dict[str, Any]]:
    return [{"object": "balance_transaction", "amount": n, "created": s.now + 60 + at} for at, n in enumerate(amounts)]


def old_endpoint(s: Story) -> list[Event]:
    """Return what an endpoint with an API version before 2024-10-28 hears of two refunds, of which one fails later."""
    refund = s.refund(1000)["data"]["object"]
    told = [s.charged(), s.charge_refunded(1000), s.charge_refunded(DUE)]
    return [*told, s._event("charge.refund.updated", refund | {"status": "failed"})]


def both_refunded_and_one_fails(s: Story) -> list[Event]:
    given = [s.refund(DUE, attempt="A"), s.refund(DUE, attempt="B")]
    return [s.charged("A"), s.charged("B"), *given, s.refund(DUE, "failed", attempt="A")]


def foreign_session_refunded(s: Story) -> list[Event]:
    s.currency = "usd"
    return [s.charged(), s.refund(DUE)]


def inquiry_that_ends(s: Story, status: str) -> list[Event]:
    return [s.charged(), s.dispute("warning_needs_response"), s.dispute(status, "updated")]


ROWS = [
    row("dispute lost", lambda s: [s.charged(), *lost(s)], S.CHARGED_BACK, net=0, owed=DUE, payable=False,
        reviews=[Review.TAKEN_BACK]),
    row("dispute lost in part", lambda s: [s.charged(), *lost(s, 2000)], S.UNDERPAID, net=3000, owed=2000,
        payable=False, reviews=[Review.TAKEN_BACK]),
    row("lost more than was paid", lambda s: [s.charged(), *lost(s, 9000)], S.CHARGED_BACK, net=0, lost=DUE,
        reviews=[Review.TAKEN_BACK]),
    row("refunded, then lost", lambda s: [s.charged(), s.refund(4000), *lost(s, 2000)], S.CHARGED_BACK, net=-1000,
        waived=4000, owed=2000, reviews=[Review.TAKEN_BACK]),
    row("bank's question", lambda s: [s.charged(), s.dispute("warning_needs_response")], S.PAID, owed=0,
        reviews=[Review.INQUIRY]),
    row("bank's question becomes a dispute",
        lambda s: [s.charged(), s.dispute("warning_needs_response"), s.dispute("needs_response", "updated")],
        S.DISPUTED, reviews=[Review.DISPUTE_DEADLINE]),
    row("bank's question closed",
        lambda s: [s.charged(), s.dispute("warning_needs_response"), s.dispute("warning_closed", "closed")], S.PAID),
    row("bank's question being looked at", lambda s: inquiry_that_ends(s, "warning_under_review"), S.PAID),
    row("bank's question prevented", lambda s: inquiry_that_ends(s, "prevented"), S.PAID),
    row("paid and refunded in another currency", foreign_session_refunded, S.UNPAID, net=0, owed=DUE, payable=True),
    row("dispute in another currency, still open",
        lambda s: [s.charged(), s.dispute("needs_response", amount=3300, currency="usd")], S.DISPUTED, lost=0, net=DUE,
        reviews=[Review.CURRENCY_MISMATCH, Review.DISPUTE_DEADLINE]),
    row("dispute in another currency won",
        lambda s: [s.charged(), s.dispute("won", "closed", amount=3300, currency="usd")], S.PAID, lost=0, net=DUE),
    row("dispute in another currency", lambda s: [s.charged(), *lost(s, 3300, currency="usd")], S.PAID, lost=0,
        net=DUE, reviews=[Review.CURRENCY_MISMATCH]),
    row("paid twice, once in another currency and lost", foreign_session_lost, S.PAID, lost=0, net=DUE,
        reviews=[Review.CURRENCY_MISMATCH]),
    row("authorized charge, intent succeeded", intent_without_captured_charge, S.PAID, net=DUE),
    row("captured without an amount", null_captured, S.PAID, net=DUE),
    row("captured in part", partly_captured, S.UNDERPAID, net=3000, owed=2000, reviews=[Review.AMOUNT_MISMATCH]),
    row("only charge.refunded tells of a refund", lambda s: [s.charged(), s.charge_refunded(4000)],
        S.PARTIALLY_REFUNDED, refunded=4000, owed=0),
    row("a refund of ours and one that only the charge shows",
        lambda s: [s.charged(), s.refund(1000), s.charge_refunded(DUE)], S.REFUNDED, refunded=DUE),
    row("the charge knows more refunds", lambda s: [s.charged(), s.refund(1000), s.charge_refunded(3000)],
        S.PARTIALLY_REFUNDED, refunded=3000),
    row("a refund after the charge's snapshot",
        lambda s: [s.charged(), s.refund(1000), s.charge_refunded(1000), s.refund(500, name="2")],
        S.PARTIALLY_REFUNDED, refunded=1500),
    row("an earlier refund fails after a later one", earlier_refund_fails, S.PARTIALLY_REFUNDED, refunded=2000,
        reviews=[Review.REFUND_FAILED]),
    row("an old endpoint tells of refunds and of one that fails", old_endpoint, S.PARTIALLY_REFUNDED, refunded=4000,
        reviews=[Review.REFUND_FAILED]),
    row("both of two payments are refunded and one refund fails", both_refunded_and_one_fails, S.PAID, refunded=DUE,
        reviews=[Review.REFUND_FAILED]),
    row("an earlier refund is canceled after a later one",
        lambda s: [s.charged(), s.refund(1000, "pending"), s.refund(2000, name="2"), s.refund(1000, "canceled")],
        S.PARTIALLY_REFUNDED, refunded=2000, reviews=[Review.REFUND_CANCELED]),
    row("a failed refund is repeated", refund_repeated, S.PARTIALLY_REFUNDED, refunded=1000),
    row("bank transfer to make", bank_transfer, S.CHECKOUT_OPEN, owed=DUE, attempt="instructions"),
    row("debit on its way", lambda s: [s.completed("A", "unpaid")], S.PROCESSING, owed=0, on_its_way=DUE,
        payable=False),
    row("won after the money was withdrawn",
        lambda s: [s.charged(), s.dispute("won", "closed", balance_transactions=withdrawn(s, -DUE, DUE))], S.PAID,
        net=DUE, lines=[DUE, -DUE, DUE]),
]  # fmt: skip


@pytest.mark.parametrize("backwards", [False, True], ids=["in order", "backwards"])
@pytest.mark.parametrize(("tell", "status", "also"), ROWS)
def test_the_money_is_right(story: Story, tell: Tell, status: S, also: dict[str, Any], backwards: bool) -> None:
    events = tell(story)
    for event in reversed(events) if backwards else events:
        assert deliver(event).status_code == 200
    payment = Payment.objects.get(pk=story.payment.pk)
    amounts = asdict(payment.amounts) | {"net": payment.amounts.net, "owed": payment.amount_owed}
    expected = {name: value for name, value in also.items() if name in amounts}
    assert {name: amounts[name] for name in expected} == expected
    assert (payment.status, payment.reviews) == (status, also.get("reviews", []))
    assert payment.payable == also.get("payable", payment.payable)
    assert payment.attempt == also.get("attempt", payment.attempt)
    lines = movements(fact.value for fact in payment.facts.all())
    assert sum(line.amount for line in lines if line.currency == payment.currency) == payment.amounts.net
    assert [line.amount for line in lines] == also.get("lines", [line.amount for line in lines])


TIES: dict[str, Tell] = {
    "two declines": lambda s: [s.failed(code="card_declined"), s.failed(code="expired_card")],
    "decline and action": lambda s: [s.failed(), s.requires_action()],
    "decline of one page and action of another": lambda s: [s.failed("A"), s.requires_action("B")],
    "expired and completed": lambda s: [s.expired(), s.completed()],
    "two payments": lambda s: [s.charged("A"), s.completed("B")],
    "lost and won": lambda s: [s.charged(), s.dispute("lost", "closed"), s.dispute("won", "closed")],
    "refunds of which one fails": lambda s: [
        s.charged(), s.refund(1000), s.refund(1000, "failed"), s.refund(2000, name="2"), s.charge_refunded(3000)
    ],
    "two payments and a refund": lambda s: [s.charged("A"), s.charged("B"), s.refund(DUE, attempt="B")],
}  # fmt: skip


@pytest.mark.parametrize("tell", TIES.values(), ids=TIES)
def test_events_of_one_second_end_alike_in_any_order(book: Callable[..., Payment], tell: Tell) -> None:
    """Events of one second lead to one standing, whichever arrives first. All objects are made in that second, too."""
    orders = list(itertools.permutations(range(len(tell(Story(book()))))))
    found = []
    for order in orders[:: max(1, len(orders) // 12)]:
        story = Story(book())
        events = tell(story)
        for event in events:
            event["created"] = event["data"]["object"]["created"] = events[0]["created"]
        for place in order:
            assert deliver(events[place]).status_code == 200
        found.append(Payment.objects.get(pk=story.payment.pk).standing)
    assert len(found) > 1
    assert all(standing == found[0] for standing in found)


def cancel(payment: Payment) -> None:
    appointment = Appointment.objects.get(pk=payment.appointment_id)
    appointment.status = Appointment.Status.CANCELED
    appointment.save()


@pytest.mark.postgres
@pytest.mark.parametrize("order", list(itertools.permutations(["pay", "cancel", "resell"])), ids="-".join)
@pytest.mark.parametrize("free", [False, True], ids=["taken", "free"])
def test_a_slot_sold_again_gives_one_review_in_any_order(
    database: str, as_clerk: Client, story: Story, book: Callable[..., Payment], order: tuple[str, ...], free: bool
) -> None:
    """A paid visit that is canceled at the desk is reviewed alike in any order, and the doctor finds nothing wrong.

    If `free`, the visit that took its time is canceled, too.
    """
    slot = story.payment.appointment
    other: list[Payment] = []

    def cancel(payment: Payment) -> None:
        assert as_clerk.post(f"{desk_page_of(payment)}cancel/", {"fee": "0"}).status_code == 302

    steps: dict[str, Callable[[], object]] = {
        "pay": lambda: deliver(story.succeeded()),
        "cancel": lambda: cancel(story.payment),
        "resell": lambda: other.append(book(start=slot.start, end=slot.end)),
    }
    for step in order:
        steps[step]()
    if free:
        cancel(other[0])
    story.payment.refresh_from_db()
    expected = Review.PAID_AFTER_CANCEL if free else Review.SLOT_LOST
    assert (story.payment.status, story.payment.reviews) == (S.PAID, [expected])
    assert doctor.standings().level == doctor.history().level == Level.OK


def test_booked_again_after_a_refund_it_is_owed_again(story: Story) -> None:
    deliver(story.charged())
    cancel(story.payment)
    deliver(story.refund(DUE))
    story.payment.refresh_from_db()
    assert (story.payment.status, story.payment.amount_owed, story.payment.reviews) == (S.REFUNDED, 0, [])
    appointment = Appointment.objects.get(pk=story.payment.appointment_id)
    appointment.status = Appointment.Status.BOOKED
    appointment.save()
    story.payment.refresh_from_db()
    assert (story.payment.status, story.payment.amount_owed, story.payment.payable) == (S.UNPAID, DUE, True)


def test_a_higher_price_leaves_the_rest_to_pay(story: Story) -> None:
    deliver(story.charged())
    appointment = story.payment.appointment
    appointment.price_amount = 8000
    appointment.save()
    story.payment.refresh_from_db()
    assert (story.payment.status, story.payment.to_ask, story.payment.payable) == (S.UNDERPAID, 3000, True)
    assert story.payment.reviews == [Review.PRICE_CHANGED]


def test_a_deposit_is_asked_first_and_then_the_rest(story: Story) -> None:
    appointment = story.payment.appointment
    appointment.deposit_amount = 1500
    appointment.save()
    story.payment.refresh_from_db()
    assert story.payment.to_ask == 1500
    deliver(story.charged(amount=1500))
    story.payment.refresh_from_db()
    assert (story.payment.status, story.payment.to_ask, story.payment.reviews) == (S.UNDERPAID, 3500, [])


def test_all_is_asked_of_a_patient_who_has_come(story: Story) -> None:
    appointment = story.payment.appointment
    appointment.deposit_amount, appointment.arrived_at = 1500, timezone.now()
    appointment.save()
    story.payment.refresh_from_db()
    assert story.payment.to_ask == DUE


def test_a_receipt_names_what_the_bank_took_back(story: Story) -> None:
    for event in [story.charged(), *lost(story, 2000)]:
        deliver(event)
    lines = movements(fact.value for fact in story.payment.facts.all())
    assert [(line.kind, line.amount) for line in lines] == [
        (MovementKind.PAYMENT, DUE),
        (MovementKind.TAKEN_BACK, -2000),
    ]
