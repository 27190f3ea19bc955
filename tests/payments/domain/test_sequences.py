"""The truth table of a payment's status: each row posts events to the webhook view and names the expected result."""

import time
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
import time_machine
from django.conf import settings as site_settings
from pytest_django.fixtures import Settings

from accounts.models import User
from payments.desk import till
from payments.domain.methods import Method
from payments.domain.status import PaymentStatus as S
from payments.domain.status import Review
from payments.models import EventReceipt, Fact, FeedEntry, Payment
from tests.payments.faults import broken_ledger
from tests.payments.stripe_story import Event, Story, deliver

pytestmark = pytest.mark.django_db
DUE = 5000


def row(title: str, tell: Callable[[Story], list[Event]], status: S, **also: Any) -> Any:
    return pytest.param(tell, status, also, id=title)


def swapped(tell: Callable[[Story], list[Event]]) -> Callable[[Story], list[Event]]:
    """Return a function that calls `tell` and returns the events in reverse order."""
    return lambda s: tell(s)[::-1]


def twice(tell: Callable[[Story], list[Event]]) -> Callable[[Story], list[Event]]:
    return lambda s: [event for event in tell(s) for _ in range(2)]


def double(s: Story) -> list[Event]:
    return [s.completed("A"), s.charged("A"), s.completed("B"), s.charged("B")]


def part(s: Story) -> list[Event]:
    return [s.charged(), s.charge_refunded(1000), s.charge_refunded(1500)]


def failed_before_late_snapshot(s: Story) -> list[Event]:
    """Return events: of a charge, of its failed refund, and a charge.refunded made before the refund failed."""
    charged, _, refunded = s.charged(), s.refund(DUE), s.charge_refunded(DUE)
    return [charged, s.refund(DUE, "failed"), refunded]


ROWS = [
    row("1 session paid", lambda s: [s.completed()], S.PAID, moves=1),
    row("2 session, charge and intent", lambda s: [s.completed(), s.charged(), s.succeeded()], S.PAID, moves=1),
    row("3 intent, then session", lambda s: [s.succeeded(), s.completed()], S.PAID, outcomes=["applied", "no_change"]),
    row("4 the same event twice", twice(lambda s: [s.completed()]), S.PAID, moves=1),
    row(
        "8 nothing to pay after a discount", lambda s: [s.completed("A", "no_payment_required", 0)], S.PAID, received=0
    ),
    row("9 failed, then paid", lambda s: [s.failed(), s.succeeded()], S.PAID),
    row("10 paid, then a late older failure", swapped(lambda s: [s.failed(), s.succeeded()]), S.PAID, moves=1),
    row(
        "11 waits for the patient's action", lambda s: [s.requires_action()], S.CHECKOUT_OPEN, attempt="requires_action"
    ),
    row("11 the action never came", lambda s: [s.requires_action(), s.expired()], S.EXPIRED),
    row("12 bank debit under way", lambda s: [s.completed("A", "unpaid")], S.PROCESSING),
    row("13 bank debit succeeds", lambda s: [s.completed("A", "unpaid"), s.async_succeeded()], S.PAID, moves=2),
    row("14 bank debit fails", lambda s: [s.completed("A", "unpaid"), s.async_failed()], S.FAILED),
    row("15 stale completed", swapped(lambda s: [s.completed("A", "unpaid"), s.async_succeeded()]), S.PAID, moves=1),
    row("17 intent canceled alone", lambda s: [s.canceled()], S.UNPAID, moves=0),
    row("17 intent canceled with its session", lambda s: [s.canceled(), s.expired()], S.EXPIRED),
    row("18 session expired", lambda s: [s.expired()], S.EXPIRED),
    row("20 A paid, then B expired", lambda s: [s.completed("A"), s.expired("B")], S.PAID, moves=1),
    row("22 paid in two tabs", double, S.PAID, overpaid=DUE, reviews=[Review.DOUBLE_PAYMENT]),
    row(
        "23 debit under way and another session paid",
        lambda s: [s.completed("A", "unpaid"), s.completed("B"), s.async_succeeded("A")],
        S.PAID,
        overpaid=DUE,
        reviews=[Review.DOUBLE_PAYMENT],
    ),
    row("29 too little", lambda s: [s.charged("A", 3000)], S.UNDERPAID, reviews=[Review.AMOUNT_MISMATCH]),
    row("30 too much", lambda s: [s.charged("A", 6000)], S.PAID, overpaid=1000, reviews=[Review.AMOUNT_MISMATCH]),
    row("40 unsupported type", lambda s: [s._event("product.created", {})], S.UNPAID, outcomes=["ignored_type"]),
    row("41 refunded in full", lambda s: [s.charged(), s.charge_refunded(DUE)], S.REFUNDED, refunded=DUE),
    row("42 refunded in parts", part, S.PARTIALLY_REFUNDED, refunded=1500),
    row("43 the larger sum first", swapped(part), S.PARTIALLY_REFUNDED, refunded=1500),
    row("44 parts, then the rest", lambda s: [*part(s), s.charge_refunded(DUE)], S.REFUNDED, refunded=DUE),
    row("45 refund pending", lambda s: [s.charged(), s.refund(DUE, "pending")], S.REFUND_PENDING, refunded=0),
    row("46 refund done", lambda s: [s.charged(), s.refund(DUE, "pending"), s.refund(DUE)], S.REFUNDED, moves=3),
    row(
        "47 refund fails days later",
        lambda s: [s.charged(), s.refund(DUE), s.refund(DUE, "failed")],
        S.PAID,
        reviews=[Review.REFUND_FAILED],
        refunded=0,
    ),
    row(
        "48 refund canceled",
        lambda s: [s.charged(), s.refund(DUE, "pending"), s.refund(DUE, "canceled")],
        S.PAID,
        reviews=[Review.REFUND_CANCELED],
    ),
    row(
        "49 refund failed, then a late charge.refunded",
        failed_before_late_snapshot,
        S.PAID,
        reviews=[Review.REFUND_FAILED],
    ),
    row("50 refund before any success", lambda s: [s.refund(DUE), s.charge_refunded(DUE), s.succeeded()], S.REFUNDED),
    row(
        "50 part refund before any success",
        lambda s: [s.refund(1000), s.charge_refunded(1000), s.succeeded()],
        S.PARTIALLY_REFUNDED,
        refunded=1000,
        moves=1,
    ),
    row("52 refund in the Dashboard", lambda s: [s.charged(), s.refund(DUE)], S.REFUNDED),
    row("55 double payment, one refunded", lambda s: [*double(s), s.refund(DUE, attempt="B")], S.PAID, overpaid=0),
    row(
        "57 disputed",
        lambda s: [s.charged(), s.dispute("needs_response")],
        S.DISPUTED,
        reviews=[Review.DISPUTE_DEADLINE],
    ),
    row(
        "58 dispute won",
        lambda s: [s.charged(), s.dispute("needs_response"), s.dispute("won", "closed")],
        S.PAID,
        moves=3,
    ),
    row(
        "59 dispute lost",
        lambda s: [s.charged(), s.dispute("needs_response"), s.dispute("lost", "closed")],
        S.CHARGED_BACK,
        lost=DUE,
        reviews=[Review.TAKEN_BACK],
    ),
    row(
        "60 lost before created",
        lambda s: [s.charged(), *[s.dispute("needs_response"), s.dispute("lost", "closed")][::-1]],
        S.CHARGED_BACK,
        reviews=[Review.TAKEN_BACK],
    ),
    row(
        "61 early warning",
        lambda s: [s.charged(), s.dispute("warning_needs_response"), s.dispute("warning_closed", "closed")],
        S.PAID,
        moves=1,
    ),
    row(
        "62 part refund, dispute, won",
        lambda s: [s.charged(), s.refund(1000), s.dispute("needs_response", amount=4000), s.dispute("won", "closed")],
        S.PARTIALLY_REFUNDED,
    ),
    row(
        "63 pending refund overtaken by a dispute",
        lambda s: [s.charged(), s.refund(DUE, "pending"), s.dispute("under_review"), s.refund(DUE, "failed")],
        S.DISPUTED,
        reviews=[Review.REFUND_FAILED],
    ),
]


def standing_of(payment: Payment) -> Payment:
    payment.refresh_from_db()
    return payment


@pytest.mark.parametrize(("tell", "status", "also"), ROWS)
def test_the_status_is_right(story: Story, tell: Any, status: S, also: dict[str, Any]) -> None:
    answers = [deliver(event) for event in tell(story)]
    payment = standing_of(story.payment)
    changes = list(payment.changes.all())
    assert {answer.status_code for answer in answers} == {200}
    assert payment.status == status
    assert payment.reviews == also.get("reviews", [])
    for name in ("received", "refunded", "lost", "overpaid"):
        assert getattr(payment, f"amount_{name}") == also.get(name, getattr(payment, f"amount_{name}")), name
    assert payment.attempt == also.get("attempt", "")
    assert payment.amount_overpaid == also.get("overpaid", 0)
    if "moves" in also:
        assert len([change for change in changes if change.moved]) == also["moves"]
    if "outcomes" in also:
        assert [answer.content.decode() for answer in answers] == also["outcomes"]
    assert [change.version for change in changes] == list(range(1, len(changes) + 1))
    assert FeedEntry.objects.filter(feed__audience="staff").count() == len(changes)


def test_6_a_crash_leaves_nothing_and_the_retry_applies(story: Story) -> None:
    event = story.completed()
    with broken_ledger(), pytest.raises(ZeroDivisionError):
        deliver(event)
    assert not Fact.objects.exists()
    assert EventReceipt.objects.get().outcome == "failed"
    assert deliver(event).content == b"applied"
    assert standing_of(story.payment).status == S.PAID


def test_19_a_new_session_after_an_expired_one(story: Story) -> None:
    deliver(story.expired("A"))
    record_opened(story, "B")
    assert standing_of(story.payment).status == S.CHECKOUT_OPEN


def record_opened(story: Story, attempt: str) -> None:
    from payments import ledger
    from payments.gateway.objects import from_object

    story.now += 60
    session = story.session(attempt, "open", "unpaid")
    ledger.record(from_object(session, story.now), ledger.Cause(ledger.Source.CHECKOUT))


@pytest.mark.parametrize(("resold", "review"), [(False, Review.PAID_AFTER_CANCEL), (True, Review.SLOT_LOST)])
def test_24_25_paid_after_the_appointment_was_canceled(story: Story, book: Any, resold: bool, review: Review) -> None:
    appointment = story.payment.appointment
    appointment.status = appointment.Status.CANCELED
    appointment.save()
    if resold:
        book(start=appointment.start, end=appointment.end)
    deliver(story.succeeded())
    payment = standing_of(story.payment)
    assert (payment.status, payment.reviews) == (S.PAID, [review])


def test_26_canceled_with_an_open_session(story: Story) -> None:
    record_opened(story, "A")
    story.payment.appointment.status = "canceled"
    story.payment.appointment.save()
    assert standing_of(story.payment).status == S.VOID


def test_27_cash_while_a_session_is_open_then_paid_as_well(story: Story, clerk: User) -> None:
    record_opened(story, "A")
    till.take_payment(story.payment, DUE, Method.CASH, clerk, key=uuid4().hex)
    payment = standing_of(story.payment)
    assert (payment.status, payment.method, payment.reviews) == (S.PAID, "cash", [])
    assert payment.changes.filter(actor=clerk).count() == 1
    deliver(story.completed("A"))
    payment = standing_of(story.payment)
    assert (payment.status, payment.amount_overpaid, payment.reviews) == (S.PAID, DUE, [Review.DOUBLE_PAYMENT])


@pytest.mark.parametrize(("now_due", "status", "overpaid"), [(6000, S.UNDERPAID, 0), (4000, S.PAID, 1000)])
def test_28_paid_at_an_earlier_price(story: Story, now_due: int, status: S, overpaid: int) -> None:
    record_opened(story, "A")
    story.payment.appointment.price_amount = now_due
    story.payment.appointment.save()
    deliver(story.completed("A", amount=DUE))
    payment = standing_of(story.payment)
    assert (payment.status, payment.amount_overpaid, payment.reviews) == (status, overpaid, [Review.PRICE_CHANGED])


def test_31_another_currency_is_not_counted(story: Story) -> None:
    story.currency = "usd"
    deliver(story.charged())
    payment = standing_of(story.payment)
    assert (payment.status, payment.amount_received) == (S.UNPAID, 0)
    assert payment.reviews == [Review.CURRENCY_MISMATCH]


@pytest.mark.parametrize(("amount", "currency"), [(5000, "jpy"), (12340, "kwd")])
def test_32_33_other_currencies_are_paid_in_their_minor_unit(book: Any, amount: int, currency: str) -> None:
    payment = book(amount, currency)
    deliver(Story(payment).charged())
    assert standing_of(payment).status == S.PAID
    assert payment.amount_received == amount


@pytest.mark.parametrize("site_is_live", [False, True])
def test_34_the_other_mode_is_rejected(story: Story, settings: Settings, site_is_live: bool) -> None:
    settings.STRIPE_LIVE_MODE = site_is_live
    story.livemode = not site_is_live
    assert deliver(story.completed()).content == b"rejected_livemode"
    assert standing_of(story.payment).status == S.UNPAID
    assert not Fact.objects.exists()


def test_35_an_event_before_its_payment_waits_for_it(story: Story, book: Any) -> None:
    events = [story.charged(), story.refund(1000)]
    public_id, appointment = story.payment.public_id, story.payment.appointment
    FeedEntry.objects.all().delete()
    story.payment.changes.all().delete()
    story.payment.delete()
    assert [deliver(event).content for event in events] == [b"deferred", b"deferred"]
    payment = Payment(public_id=public_id, appointment=appointment, amount_due=DUE, currency="eur")
    payment.save()
    appointment.save()
    deliver(story.completed())
    assert standing_of(payment).status == S.PARTIALLY_REFUNDED
    assert set(EventReceipt.objects.values_list("outcome", flat=True)) <= {"applied", "no_change"}


def test_36_an_event_of_somebody_else_is_ignored(story: Story) -> None:
    story.metadata, story.site = False, ""
    assert deliver(story.succeeded()).content == b"ignored_foreign"
    assert not Fact.objects.exists()


def test_36_an_event_of_another_account_is_ignored(story: Story) -> None:
    assert deliver(story.succeeded() | {"account": "acct_other"}).content == b"ignored_foreign"


def test_37_an_intent_that_we_never_heard_of_finds_its_payment_by_metadata(story: Story) -> None:
    assert deliver(story.succeeded()).content == b"applied"
    assert standing_of(story.payment).status == S.PAID


def test_38_a_wrong_secret_stores_nothing_and_both_are_valid_while_rotating(story: Story, settings: Settings) -> None:
    event = story.completed()
    assert deliver(event, secret="whsec_wrong").status_code == 400
    assert not EventReceipt.objects.exists()
    settings.STRIPE_WEBHOOK_SECRETS = ["whsec_new", "whsec_old"]
    assert deliver(event, secret="whsec_old").content == b"applied"
    assert deliver(story.charged(), secret="whsec_new").status_code == 200


def test_64_a_replay_of_an_old_failure_changes_nothing_and_tells_nobody(story: Story) -> None:
    from payments.gateway.webhooks import receive
    from payments.ledger import Source

    failed, paid = story.failed(), story.succeeded()
    deliver(failed)
    deliver(paid)
    before = FeedEntry.objects.count()
    receipt = receive(failed, Source.REPLAY, again=True)
    assert receipt.outcome == "no_change"
    assert standing_of(story.payment).status == S.PAID
    assert FeedEntry.objects.count() == before


def test_the_tolerance_of_the_clock_is_five_minutes_either_way(story: Story) -> None:
    import json

    from tests.payments.stripe_story import sign

    body = json.dumps(story.completed())
    with time_machine.travel(time.time(), tick=False):
        for shift, status in ((-301, 400), (301, 400), (-290, 200)):
            header = sign(body, site_settings.STRIPE_WEBHOOK_SECRETS[0], time.time() + shift)
            assert deliver(body, headers={"Stripe-Signature": header}).status_code == status
