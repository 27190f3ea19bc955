"""Tests of what the ledger stores when a payment changes, and of whom it then tells."""

import datetime
import logging
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models import User
from payments import ledger, logs
from payments.domain.facts import Kind, StripeFact
from payments.domain.status import PaymentStatus as S
from payments.ledger import Cause, Ledger
from payments.linking import LockedRows
from payments.models import EventReceipt, Fact, Feed, FeedEntry, Payment, StatusChange
from payments.signals import changes_sent, entries_committed, payment_confirmed, payment_status_changed

pytestmark = pytest.mark.django_db
Book = Callable[..., Payment]
Committed = Callable[..., Any]  # runs what waits for the commit, when its block ends
Source, Outcome = StatusChange.Source, EventReceipt.Outcome
THEN = datetime.datetime(2026, 3, 1, 12, tzinfo=datetime.UTC)


def fact(payment: Payment, kind: Kind, stripe_id: str, status: str, at: int = 1000, **fields: Any) -> StripeFact:
    """Return the state of an object of this payment about 50,00 €, made and seen at `at` (Unix seconds)."""
    known: dict[str, Any] = {"created": at, "amount": 5000, "currency": "eur", "payment_intent_id": "pi_1"} | fields
    return StripeFact(kind, stripe_id, status, at, payment_id=str(payment.public_id), **known)


def paid(payment: Payment, **fields: Any) -> StripeFact:
    return fact(payment, Kind.CHARGE, "ch_1", "succeeded", **{"details": {"method": "card"}} | fields)


def by(actor: User | None = None) -> Cause:
    return Cause(Source.REFUND, actor=actor)


def test_a_change_says_what_changed_and_why(payment: Payment, clerk: User) -> None:
    cause = Cause(Source.WEBHOOK, "evt_1", clerk, THEN)
    recorded = ledger.record([paid(payment)], cause)
    change = payment.changes.latest("version")
    payment.refresh_from_db()
    assert (recorded.outcome, recorded.payment, recorded.change) == (Outcome.APPLIED, payment, change)
    assert (change.from_status, change.to_status, change.version) == (S.UNPAID, S.PAID, 2)
    assert (change.source, change.stripe_event_id, change.actor, change.occurred_at) == (
        "webhook",
        "evt_1",
        clerk,
        THEN,
    )
    assert change.booking == {}
    assert (payment.version, payment.status, payment.amount_received, payment.method) == (2, S.PAID, 5000, "card")
    assert change.standing == asdict(payment.standing) | {"reviews": []}


def test_what_changes_nothing_makes_no_change(payment: Payment) -> None:
    ledger.record([paid(payment)], by())
    payment.refresh_from_db()
    recorded = ledger.record([paid(payment)], by())
    assert (recorded.outcome, recorded.payment, recorded.change) == (Outcome.NO_CHANGE, payment, None)
    assert payment.changes.count() == 2


def test_no_savepoint_is_made(payment: Payment) -> None:
    """Each would be one more round trip to the database."""
    with CaptureQueriesContext(connection) as queries:
        ledger.record([paid(payment)], by())
        ledger.rederive(payment, by())
    assert not [query["sql"] for query in queries if "SAVEPOINT" in query["sql"]]


def test_a_method_learned_later_is_stored_without_a_change(payment: Payment) -> None:
    ledger.record([fact(payment, Kind.SESSION, "cs_1", "paid")], by())
    assert ledger.record([paid(payment)], by()).outcome == Outcome.NO_CHANGE
    updated = payment.updated_at
    payment.refresh_from_db()
    assert (payment.method, payment.version) == ("card", 2)
    assert payment.updated_at > updated


def test_a_kept_card_is_news_and_its_digits_are_stored_only_with_the_payment(payment: Payment) -> None:
    kept = fact(payment, Kind.CARD, "pm_1", "kept", details={"brand": "visa", "last4": "4242", "customer": "cus_1"})
    ledger.record([kept], by())
    payment.refresh_from_db()
    change = payment.changes.latest("version")
    assert change.booking == {"card": "kept", "card_brand": "visa"}
    assert (payment.card, payment.card_brand, payment.card_last4) == ("kept", "visa", "4242")
    assert "4242" not in str(change.standing)
    ledger.record([paid(payment)], by())
    assert payment.changes.latest("version").booking == {}, "the card is the one that was known"


def test_a_card_and_the_appointment_can_change_together(payment: Payment) -> None:
    book = Ledger(LockedRows((), payments=[payment.public_id]))
    (row,) = book.rows.payments.values()
    facts = book.rows.absorb([fact(payment, Kind.CARD, "pm_1", "kept", details={"brand": "visa"})], row)
    change = book.update(row, facts, by(), {"price": [5000, "eur"]})
    assert change is not None
    assert change.booking == {"price": [5000, "eur"], "card": "kept", "card_brand": "visa"}


def test_a_payment_without_a_card_has_no_digits(payment: Payment) -> None:
    Payment.objects.filter(pk=payment.pk).update(card_last4="4242")
    ledger.record([fact(payment, Kind.CONSENT, "consent_1", "agreed"), paid(payment)], by())
    payment.refresh_from_db()
    assert payment.card_last4 == ""


def test_what_changed_of_the_appointment_is_a_change_by_itself(payment: Payment) -> None:
    book = Ledger(LockedRows((), payments=[payment.public_id]))
    (row,) = book.rows.payments.values()
    change = book.update(row, book.rows.absorb((), row), by(), {"price": [5000, "eur"]})
    assert change is not None
    assert (change.booking, change.from_status, change.to_status) == ({"price": [5000, "eur"]}, S.UNPAID, S.UNPAID)
    assert book.update(row, [], by()) is None
    book.write()
    assert payment.changes.latest("version") == change


# Who caused it


@pytest.fixture
def requested(payment: Payment, clerk: User) -> StripeFact:
    """Return a refund by Stripe that a clerk has requested, of a payment that is paid."""
    ledger.record([paid(payment)], by())
    ledger.record([fact(payment, Kind.REFUND, "request_1", "pending", 2000, amount=1000)], by(clerk))
    return fact(payment, Kind.REFUND, "re_1", "succeeded", 3000, amount=1000, details={"request": "request_1"})


@pytest.mark.parametrize("status", ["succeeded", "failed", "canceled"])
def test_who_requested_a_refund_caused_it_but_not_its_failure(
    payment: Payment, clerk: User, requested: StripeFact, status: str
) -> None:
    change = ledger.record([replace(requested, status=status)], by()).change
    assert change is not None
    assert change.actor == (clerk if status == "succeeded" else None)


def test_who_replays_an_event_caused_the_change(payment: Payment, requested: StripeFact) -> None:
    replayer = User.objects.create_user("replayer")
    change = ledger.record([requested], by(replayer)).change
    assert change is not None
    assert change.actor == replayer


def test_what_nobody_requested_nobody_caused(payment: Payment, clerk: User) -> None:
    ledger.record([payment.own_fact(Kind.OFFLINE, "offline_1", "cash", 2000)], by(clerk))
    change = ledger.record([paid(payment, amount=3000)], by()).change
    assert change is not None
    assert (change.actor, change.stripe_event_id, change.occurred_at) == (None, "", None)


# Whom it tells


@pytest.fixture
def told() -> Any:
    """Yield a list of (signal's name, arguments) in the order in which the signals are sent."""
    found: list[tuple[str, dict[str, Any]]] = []
    signals = {
        "entries_committed": entries_committed,
        "payment_status_changed": payment_status_changed,
        "payment_confirmed": payment_confirmed,
    }
    receivers = {name: lambda name=name, **said: found.append((name, said)) for name in signals}
    for name, signal in signals.items():
        signal.connect(receivers[name])
    yield found
    for name, signal in signals.items():
        signal.disconnect(receivers[name])


def test_pages_are_told_first_and_then_others(
    payment: Payment, told: list[Any], django_capture_on_commit_callbacks: Committed, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "payments.ledger")
    ids: list[str] = []
    payment_status_changed.connect(note := lambda **_: ids.append(logs.request_id.get()))
    with django_capture_on_commit_callbacks(execute=True):
        cause = Cause(Source.WEBHOOK, "evt_1", request_id="request-7")
        change = ledger.record([paid(payment)], cause).change
    payment_status_changed.disconnect(note)
    assert [name for name, _ in told] == ["entries_committed", "payment_status_changed", "payment_confirmed"]
    entries = list(FeedEntry.objects.filter(change=change).order_by("feed__audience"))
    assert (told[0][1]["sender"], told[0][1]["entries"]) == (Feed, entries)
    for _, said in told[1:]:
        assert (said["sender"], said["payment"], said["change"], said["entries"]) == (Payment, payment, change, entries)
    assert ids == ["request-7"]
    (line,) = caplog.records
    fields = {name: getattr(line, name) for name in ("payment_id", "status", "source", "stripe_event_id")}
    assert (line.name, line.message) == ("payments.ledger", "payment_status_changed")
    assert fields == {
        "payment_id": str(payment.public_id),
        "status": "paid",
        "source": "webhook",
        "stripe_event_id": "evt_1",
    }


def test_only_becoming_paid_confirms_a_payment(
    payment: Payment, told: list[Any], django_capture_on_commit_callbacks: Committed
) -> None:
    ledger.record([paid(payment, amount=3000)], by())
    with django_capture_on_commit_callbacks(execute=True):
        ledger.record([paid(payment, amount=3000), payment.own_fact(Kind.OFFLINE, "o_1", "cash", 1000)], by())
    assert [name for name, _ in told][-2:] == ["entries_committed", "payment_status_changed"]
    ledger.record([payment.own_fact(Kind.OFFLINE, "o_2", "cash", 1000)], by())
    told.clear()
    with django_capture_on_commit_callbacks(execute=True):
        ledger.record([payment.own_fact(Kind.OFFLINE, "o_3", "cash", 1000)], by())
    assert [name for name, _ in told] == ["entries_committed", "payment_status_changed"]


def test_nobody_is_told_of_nothing(
    payment: Payment, told: list[Any], django_capture_on_commit_callbacks: Committed
) -> None:
    ledger.record([paid(payment)], by())
    told.clear()
    with django_capture_on_commit_callbacks(execute=True):
        ledger.record([paid(payment)], by())
    assert told == []


def test_each_of_several_changes_has_its_own_entries(
    book: Book, told: list[Any], django_capture_on_commit_callbacks: Committed
) -> None:
    """Two payments change in one transaction; what was asked to run after the commit runs between pages and others."""
    first, second = book(), book()
    facts = [paid(first), replace(paid(second), stripe_id="ch_2", payment_intent_id="pi_2", amount=3000)]
    together = Ledger(LockedRows(facts))
    changes = [together.record([each], by()).change for each in facts]
    with django_capture_on_commit_callbacks(execute=True):
        together.write(on_commit=lambda: told.append(("on_commit", {})))
    names = [name for name, _ in told]
    assert names == [
        "entries_committed",
        "on_commit",
        "payment_status_changed",
        "payment_confirmed",
        "payment_status_changed",
    ]
    for name, said in told:
        if name.startswith("payment_"):
            assert {entry.change for entry in said["entries"]} == {said["change"]}
            assert len(said["entries"]) == 2
    assert [said["change"] for name, said in told if name == "payment_status_changed"] == changes


def test_a_receiver_that_fails_leaves_the_others_alone(
    payment: Payment, told: list[Any], django_capture_on_commit_callbacks: Committed
) -> None:
    def fail(**_: Any) -> None:
        raise ZeroDivisionError

    for signal in (entries_committed, payment_status_changed, payment_confirmed):
        signal.connect(fail)
    try:
        with django_capture_on_commit_callbacks(execute=True):
            ledger.record([paid(payment)], by())
    finally:
        for signal in (entries_committed, payment_status_changed, payment_confirmed):
            signal.disconnect(fail)
    assert [name for name, _ in told][-1] == "payment_confirmed"


@pytest.mark.postgres(only=True)
@pytest.mark.django_db(transaction=True)
def test_changes_are_prepared_while_postgresql_stores_them(payment: Payment) -> None:
    prepared: list[Any] = []
    changes_sent.connect(prepare := lambda sender, changes, **_: prepared.append((sender, changes)))
    change = ledger.record([paid(payment)], by()).change
    changes_sent.disconnect(prepare)
    assert prepared == [(StatusChange, [change])]


def test_what_fails_after_the_commit_leaves_the_signals_alone(
    payment: Payment, told: list[Any], django_capture_on_commit_callbacks: Committed
) -> None:
    def fail() -> None:
        raise ZeroDivisionError

    book = Ledger(LockedRows([paid(payment)]))
    book.record([paid(payment)], by())
    with django_capture_on_commit_callbacks(execute=True):
        book.write(on_commit=fail)
    assert [name for name, _ in told] == ["entries_committed", "payment_status_changed", "payment_confirmed"]


def test_pages_load_again_and_other_columns_are_stored(payment: Payment) -> None:
    mine = f"patient.{payment.appointment.patient_id}"
    before = {name: Feed.objects.of(name).epoch for name in ("staff", mine)}
    book = Ledger(LockedRows((), payments=[payment.public_id]))
    (row,) = book.rows.payments.values()
    row.slot_lost = True
    book.touch(row)
    book.write(columns=("slot_lost",), reload=[mine])
    payment.refresh_from_db()
    assert payment.slot_lost
    assert Feed.objects.of("staff").epoch == before["staff"]
    assert Feed.objects.of(mine).epoch != before[mine]


# Repairing


def test_what_bypassed_the_ledger_is_derived_again(payment: Payment) -> None:
    ledger.record([paid(payment)], by())
    Fact.objects.filter(stripe_id="ch_1").update(amount=3000)
    ledger.rederive(payment, Cause(Source.RECONCILE))
    payment.refresh_from_db()
    change = payment.changes.latest("version")
    assert (payment.status, payment.amount_received, change.source) == (S.UNDERPAID, 3000, "reconcile")
    ledger.rederive(payment, Cause(Source.RECONCILE))
    assert payment.changes.count() == 3
