"""Tests that a payment's final state doesn't depend on the order, repetition or concurrency of its events."""

import itertools
import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connection, transaction
from django.test import Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from payments.domain.facts import StripeFact
from payments.domain.precedence import merge
from payments.domain.status import PaymentStatus, Standing, Terms, derive
from payments.gateway.event_types import from_event
from payments.models import EventReceipt, Fact, FeedEntry, Payment
from tests.payments.stripe_story import Event, Story, deliver
from tests.waits import wait_until

TERMS = Terms(5000, "eur")
STEPS: dict[str, Callable[[Story, str], Event]] = {
    "failed": lambda s, a: s.failed(a),
    "requires_action": lambda s, a: s.requires_action(a),
    "processing": lambda s, a: s.processing(a),
    "canceled": lambda s, a: s.canceled(a),
    "unpaid": lambda s, a: s.completed(a, "unpaid"),
    "async_failed": lambda s, a: s.async_failed(a),
    "async_succeeded": lambda s, a: s.async_succeeded(a),
    "expired": lambda s, a: s.expired(a),
    "completed": lambda s, a: s.completed(a),
    "succeeded": lambda s, a: s.succeeded(a),
    "charged": lambda s, a: s.charged(a),
    "charged_less": lambda s, a: s.charged(a, 3000),
    "refund_pending": lambda s, a: s.refund(1000, "pending", attempt=a),
    "refund_succeeded": lambda s, a: s.refund(1000, attempt=a),
    "refund_failed": lambda s, a: s.refund(1000, "failed", attempt=a),
    "second_refund": lambda s, a: s.refund(4000, attempt=a, name="2"),
    "charge_refunded": lambda s, a: s.charge_refunded(1000, a),
    "dispute_opened": lambda s, a: s.dispute("needs_response", attempt=a),
    "dispute_won": lambda s, a: s.dispute("won", "closed", attempt=a),
    "dispute_lost": lambda s, a: s.dispute("lost", "closed", attempt=a),
}
histories = st.lists(st.tuples(st.sampled_from(sorted(STEPS)), st.sampled_from("AB")), min_size=1, max_size=10)


class NoDatabase:
    """A stand-in for a Payment, with only the attributes that Story reads, for tests without a database."""

    public_id, amount_due, currency = "00000000-0000-4000-8000-000000000001", 5000, "eur"


def told(history: list[tuple[str, str]], payment: Any = None) -> list[Event]:
    story = Story(payment or NoDatabase())
    return [STEPS[step](story, attempt) for step, attempt in history]


def fold(events: list[Event]) -> Standing:
    facts: dict[str, StripeFact] = {}
    for event in events:
        for fact in from_event(event):
            facts[fact.stripe_id] = merge(facts[fact.stripe_id], fact) if fact.stripe_id in facts else fact
    return derive(facts.values(), TERMS)


@given(histories, st.randoms(use_true_random=False))
@settings(max_examples=200, deadline=None)
def test_any_order_with_any_duplicates_gives_the_same_standing(
    history: list[tuple[str, str]], chance: random.Random
) -> None:
    events = told(history)
    arrived = events + chance.choices(events, k=len(events))
    chance.shuffle(arrived)
    assert fold(arrived) == fold(events)


@given(histories)
@settings(max_examples=200, deadline=None)
def test_money_shown_never_exceeds_what_stripe_said(history: list[tuple[str, str]]) -> None:
    standing = fold(told(history))
    attempts = len({attempt for _, attempt in history})
    assert 0 <= standing.amounts.refunded <= standing.amounts.received <= 5000 * attempts
    assert standing.amounts.overpaid <= standing.amounts.received - standing.amounts.refunded


@settings(deadline=None)
@given(st.permutations(["failed", "completed", "charged", "succeeded", "refund_succeeded"]), st.data())
def test_merging_is_associative_and_idempotent(order: list[str], data: st.DataObject) -> None:
    facts = [fact for event in told([(step, "A") for step in order]) for fact in from_event(event)]
    one = data.draw(st.sampled_from(facts))
    same = [fact for fact in facts if fact.stripe_id == one.stripe_id]
    for first, second, third in itertools.permutations(same * 3, 3):
        assert merge(merge(first, second), third) == merge(first, merge(second, third))
    assert merge(one, one) == one


@pytest.mark.django_db
@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_four_events_in_every_order_end_in_the_same_state(story: Story, order: tuple[int, ...]) -> None:
    events = [story.failed(), story.completed(), story.charge_refunded(1000), story.succeeded()]
    for position in order:
        assert deliver(events[position]).status_code == 200
    payment = Payment.objects.get()
    assert (payment.status, payment.amount_refunded) == (PaymentStatus.PARTIALLY_REFUNDED, 1000)


@pytest.mark.slow
@pytest.mark.django_db
@given(histories, st.randoms(use_true_random=False))
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_whole_history_again_changes_nothing_and_tells_nobody(
    book: Callable[..., Payment], history: list[tuple[str, str]], chance: random.Random
) -> None:
    payment = book()
    paid = [("completed", attempt) for attempt in sorted({attempt for _, attempt in history})]
    events = told([*paid, *history], payment)
    chance.shuffle(events)
    for event in events:
        assert deliver(event).status_code == 200
    payment.refresh_from_db()
    before = (payment.standing, payment.version, FeedEntry.objects.count())
    assert payment.standing == fold(events)
    for event in events:
        deliver(event | {"id": event["id"] + "again"})
    payment.refresh_from_db()
    assert (payment.standing, payment.version, FeedEntry.objects.count()) == before


def deliver_at_once(events: list[Event], threads: int) -> list[int]:
    """Deliver the events from `threads` threads that start together, and return the responses' status codes."""
    start = threading.Barrier(threads)

    def work(share: list[Event]) -> list[int]:
        start.wait()
        try:
            return [deliver(event, Client(raise_request_exception=False)).status_code for event in share]
        finally:
            connection.close()

    with ThreadPoolExecutor(threads) as pool:
        return [code for codes in pool.map(work, [events[n::threads] for n in range(threads)]) for code in codes]


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_the_same_event_fifty_times_at_once_is_applied_once(story: Story) -> None:
    event = story.completed()
    assert deliver_at_once([event] * 50, threads=10) == [200] * 50
    payment = Payment.objects.get()
    assert (payment.status, payment.changes.count()) == (PaymentStatus.PAID, 2)  # booked, then paid
    receipt = EventReceipt.objects.get()
    assert (receipt.outcome, receipt.deliveries) == ("applied", 50)


@pytest.mark.postgres(only=True)
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("seed", range(5))
def test_a_shuffled_history_from_eight_threads_ends_as_in_order(story: Story, seed: int) -> None:
    chance = random.Random(seed)
    history = [(step, attempt) for step in sorted(STEPS) for attempt in "AB"]
    events = told(chance.sample(history, 24), story.payment)
    arrived = events * 2
    chance.shuffle(arrived)
    assert set(deliver_at_once(arrived, threads=8)) == {200}
    story.payment.refresh_from_db()
    assert story.payment.standing == fold(events)
    assert not Fact.objects.waiting().exists()
    assert list(FeedEntry.objects.filter(feed__audience="staff").values_list("seq", flat=True)) == list(
        range(1, story.payment.version + 1)
    )


def wait_for_waiting(count: int) -> None:
    with connection.cursor() as cursor:

        def waiting() -> bool:
            cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
            return bool(cursor.fetchone()[0] >= count)

        wait_until(waiting, f"{count} transactions wait for a lock")


@pytest.mark.postgres(only=True)
@pytest.mark.django_db(transaction=True)
def test_a_refund_between_the_intent_and_its_charge_never_deadlocks(story: Story) -> None:
    succeeded, refund, charged = story.succeeded(), story.refund(1000), story.charged()
    with ThreadPoolExecutor(3) as pool:
        with transaction.atomic(), connection.cursor() as cursor:
            link = from_event(charged)[0].payment_intent_id
            cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [link])
            answers = []
            for waiting, event in enumerate([succeeded, refund, charged], start=1):
                answers.append(pool.submit(deliver_at_once, [event], 1))
                wait_for_waiting(waiting)
        assert [answer.result() for answer in answers] == [[200], [200], [200]]
    assert not Fact.objects.waiting().exists()
