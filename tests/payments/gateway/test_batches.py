"""Tests that events in one batch end as they would one after the other, and that none of them harms the others."""

import asyncio
import json
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction
from django.test.utils import CaptureQueriesContext
from djstripe.models import WebhookEventTrigger

from payments.domain.status import PaymentStatus, derive
from payments.gateway import lane as lane_module
from payments.gateway.lane import Lane
from payments.gateway.signatures import Delivery
from payments.gateway.webhooks import Incoming, handle, open_delivery
from payments.models import EventReceipt, Fact, Feed, Payment, StatusChange
from payments.models.installation import own_site_id
from payments_site.demo.site import ROOT
from tests.forked import Forked
from tests.payments.stripe_story import Event, Story, delivery
from tests.waits import wait_until

pytestmark = [pytest.mark.postgres, pytest.mark.django_db(transaction=True)]
Book = Callable[..., Payment]


def incoming(event: Event) -> Incoming:
    opened = open_delivery(delivery(event))
    assert isinstance(opened, Incoming)
    return opened


def handled(*events: Event) -> list[tuple[str, int]]:
    """Handle the events in one batch; return the outcome of each, and how often it had been delivered."""
    batch = [incoming(event) for event in events]
    handle(batch)
    return [(each.outcome, each.deliveries) for each in batch]


def answers(lane: Lane, deliveries: Sequence[Delivery]) -> list[tuple[int, str]]:
    """Let the lane answer the deliveries, which all arrive before it starts; return (status, text) of each answer."""

    arrived = threading.Event()
    lane._thread.submit(arrived.wait, 30)

    async def together() -> list[Any]:
        answering = asyncio.gather(*(lane.answer(each, f"request-{n}") for n, each in enumerate(deliveries)))
        await asyncio.sleep(0)  # each delivery is in the lane's queue after its first step
        arrived.set()
        return await answering

    return [(each.status_code, each.content.decode()) for each in asyncio.run(together())]


@pytest.fixture
def sizes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that receives the size of each batch that a lane handles together."""
    found: list[int] = []

    def counted(batch: Sequence[Incoming], **options: Any) -> list[EventReceipt]:
        found.append(len(batch))
        return handle(batch, **options)

    monkeypatch.setattr(lane_module, "handle", counted)
    return found


@pytest.fixture
def lane() -> Lane:
    return Lane()


def history(payment: Payment) -> list[tuple[Any, ...]]:
    fields = ("version", "from_status", "to_status", "standing", "source", "stripe_event_id", "occurred_at")
    return list(StatusChange.objects.filter(payment=payment).order_by("version").values_list(*fields))


def assert_feeds_have_no_holes() -> None:
    for feed in Feed.objects.all():
        assert list(feed.entries.values_list("seq", flat=True)) == list(range(1, feed.head + 1))
    for change in StatusChange.objects.all():
        assert change.entries.count() == 2


def test_a_batch_takes_two_messages(story: Story) -> None:
    events = [incoming(story.failed()), incoming(story.completed()), incoming(story.charged())]
    with CaptureQueriesContext(connection) as queries:
        handle(events)
    if connection.vendor == "postgresql":
        reading, writing = (query["sql"] for query in queries if query["sql"] not in ("BEGIN", "COMMIT"))
        assert "FOR UPDATE" in reading
        assert writing.endswith("COMMIT")


def life(story: Story) -> list[Event]:
    return [
        story.failed(), story.requires_action(), story.completed(), story.succeeded(), story.charged(),
        story.refund(1000, "pending"), story.refund(1000), story.dispute("needs_response"),
    ]  # fmt: skip


def test_a_batch_ends_as_its_events_one_after_the_other(book: Book) -> None:
    """The same outcomes, the same changes and the same entries, whatever is in one batch."""
    ends = []
    for size in (1, 3, 8):
        story = Story(book(), site=own_site_id())
        story.tag = "tag"
        Fact.objects.all().delete()
        events = life(story)
        outcomes = [each for start in range(0, 8, size) for each in handled(*events[start : start + size])]
        changed = [row[:5] for row in history(story.payment)]
        story.payment.refresh_from_db()
        ends.append((outcomes, changed, story.payment.standing))
        assert [row[5] for row in history(story.payment)][1:] == [
            event["id"] for event, (outcome, _) in zip(events, outcomes, strict=True) if outcome == "applied"
        ]
    assert ends[0] == ends[1] == ends[2]
    assert_feeds_have_no_holes()


def test_copies_in_one_batch_are_counted_and_applied_once(story: Story) -> None:
    event = story.completed()
    assert handled(event, story.charged(), event, event)[0::2] == [("applied", 1), ("applied", 2)]
    assert handled(event) == [("applied", 4)]
    receipt = EventReceipt.objects.get(stripe_event_id=event["id"])
    assert (receipt.outcome, receipt.deliveries) == ("applied", 4)
    assert WebhookEventTrigger.objects.count() == 2
    assert StatusChange.objects.filter(stripe_event_id=event["id"]).count() == 1


@pytest.mark.parametrize("together", [True, False])
def test_a_refund_and_the_charge_that_links_it_see_each_other(story: Story, together: bool) -> None:
    refund, completed, charged = story.refund(1000), story.completed(), story.charged()
    completed["data"]["object"]["payment_intent"] = None  # only the charge links the refund
    if together:
        assert handled(refund, completed, charged) == [("applied", 1)] * 3
    else:
        assert handled(refund) == [("deferred", 1)]
        assert handled(completed, charged) == [("applied", 1), ("applied", 1)]
    story.payment.refresh_from_db()
    assert (story.payment.status, story.payment.amount_refunded) == (PaymentStatus.PARTIALLY_REFUNDED, 1000)
    assert EventReceipt.objects.get(stripe_event_id=refund["id"]).outcome == "applied"
    assert not Fact.objects.waiting().exists()


def test_the_lane_takes_together_what_arrives_together(lane: Lane, sizes: list[int], book: Book) -> None:
    events = [Story(book(), site=own_site_id()).completed() for _ in range(5)]
    assert answers(lane, [delivery(event) for event in events]) == [(200, "applied")] * 5
    assert sizes == [5]
    assert_feeds_have_no_holes()


def test_what_is_refused_or_malformed_never_disturbs_the_others(lane: Lane, sizes: list[int], book: Book) -> None:
    stories = [Story(book(), site=own_site_id()) for _ in range(5)]
    events = [story.completed() for story in stories]
    events[2]["data"]["object"]["amount_total"] = "much"
    deliveries = [delivery(event) for event in events]
    deliveries[1:1] = [delivery(events[0], "whsec_wrong"), delivery("[]")]
    found = answers(lane, deliveries)
    assert [status for status, _ in found] == [200, 400, 400, 200, 200, 200, 200]
    assert [text for status, text in found if status == 200] == ["applied", "applied", "quarantined", *["applied"] * 2]
    assert sizes == [5]
    assert EventReceipt.objects.count() == 5


def test_an_event_that_fails_goes_alone_and_the_others_are_applied(
    lane: Lane, book: Book, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = [Story(book(amount), site=own_site_id()).completed() for amount in (5000, 5000, 6600, 5000, 5000)]
    with monkeypatch.context() as patch:
        patch.setattr(
            "payments.ledger.derive", lambda facts, terms: derive(facts, terms) if terms.price != 6600 else 1 / 0
        )
        found = answers(lane, [delivery(event) for event in events])
    assert [status for status, _ in found] == [200, 200, 500, 200, 200]
    outcomes = dict(EventReceipt.objects.values_list("stripe_event_id", "outcome"))
    assert [outcomes[event["id"]] for event in events] == ["applied", "applied", "failed", "applied", "applied"]
    assert set(EventReceipt.objects.values_list("deliveries", flat=True)) == {1}
    kept = WebhookEventTrigger.objects.get(processed=False)
    assert (kept.exception, kept.json_body) == ("ZeroDivisionError", events[2])
    assert answers(Lane(), [delivery(events[2])]) == [(200, "applied")]
    assert_feeds_have_no_holes()


def test_each_line_of_the_log_has_the_id_of_its_own_request(
    lane: Lane, book: Book, caplog: pytest.LogCaptureFixture
) -> None:
    from payments.logs import request_id

    class Noting(logging.Filter):
        def filter(self, record: Any) -> bool:
            record.request = request_id.get()
            return True

    events = [Story(book(), site=own_site_id()).completed() for _ in range(3)]
    with caplog.at_level("INFO"), caplog.filtering(Noting()):
        answers(lane, [delivery(event) for event in events])
        wait_until(lambda: len([r for r in caplog.records if r.message == "stripe_event_received"]) == 3, "logged")
    for number, event in enumerate(events):
        lines: list[Any] = [
            record for record in caplog.records if getattr(record, "stripe_event_id", "") == event["id"]
        ]
        assert [line.message for line in lines] == ["payment_status_changed", "stripe_event_received"]
        assert {line.request for line in lines} == {f"request-{number}"}


@pytest.mark.postgres(only=True)
def test_a_payment_that_a_page_has_locked_stops_nothing_but_its_own_event(lane: Lane, book: Book) -> None:
    stories = [Story(book(), site=own_site_id()) for _ in range(4)]
    held, free = stories[0].completed(), [story.completed() for story in stories[1:]]
    with ThreadPoolExecutor(1) as threads:
        with transaction.atomic():
            Payment.objects.locked().get(pk=stories[0].payment.pk)
            started = time.monotonic()
            waiting = threads.submit(answers, lane, [delivery(held)])
            time.sleep(0.5)
            assert answers(lane, [delivery(event) for event in free]) == [(200, "applied")] * 3
            assert time.monotonic() - started < 2.5, "less than the lock_timeout of the connection, 3 s"
            assert not waiting.done()
        assert waiting.result(30) == [(200, "applied")]


@pytest.mark.postgres(only=True)
def test_a_connection_that_dies_between_the_round_trips_leaves_nothing_half_done(
    lane: Lane, book: Book, monkeypatch: pytest.MonkeyPatch
) -> None:
    stories = [Story(book(), site=own_site_id()) for _ in range(3)]
    killed: list[str] = []

    def kill_once(facts: Any, terms: Any) -> Any:
        if not killed:
            killed.append(threading.current_thread().name)
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_backend_pid()")
                pid = cursor.fetchone()[0]
            with ThreadPoolExecutor(1) as other:
                other.submit(terminate, pid).result()
        return derive(facts, terms)

    monkeypatch.setattr("payments.ledger.derive", kill_once)
    found = answers(lane, [delivery(story.completed()) for story in stories])
    assert found == [(200, "applied")] * 3
    assert killed[0].startswith("webhooks")
    assert list(EventReceipt.objects.values_list("deliveries", flat=True)) == [1, 1, 1]
    assert_feeds_have_no_holes()


def terminate(pid: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s)", [pid])
    connection.close()


def test_a_database_that_is_away_is_answered_with_503(
    lane: Lane, story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*statements: Any, **options: Any) -> Any:
        raise DatabaseError

    with monkeypatch.context() as patch:
        patch.setattr("payments.linking.run", away)
        assert [status for status, _ in answers(lane, [delivery(story.completed())])] == [503]
    assert not EventReceipt.objects.exists()


@pytest.mark.postgres(only=True)
@pytest.mark.parametrize("processes", [2, 4])
def test_processes_with_equal_events_in_any_order_apply_each_once(book: Book, tmp_path: Any, processes: int) -> None:
    stories = [Story(book(), site=own_site_id()) for _ in range(25)]
    events = [event for story in stories for event in life(story)]
    (tmp_path / "events.json").write_text(json.dumps(events))
    given = connection.settings_dict
    url = f"postgres://{given['USER']}@{given['HOST']}:{given['PORT']}/{given['NAME']}"
    environment = os.environ | {"DATABASE_URL": url, "DJANGO_SETTINGS_MODULE": "payments_site.settings"}
    command = [sys.executable, "-m", "tests.payments.lane_process"]
    deadlocks = count_deadlocks()
    running = [
        Forked([*command, str(seed), tmp_path / "events.json"], cwd=ROOT, env=environment, stdout=1, stderr=2)
        for seed in range(processes)
    ]
    assert [process.wait(120) for process in running] == [0] * processes
    assert count_deadlocks() == deadlocks
    assert set(EventReceipt.objects.values_list("deliveries", flat=True)) == {processes}
    assert EventReceipt.objects.count() == len(events)
    for story in stories:
        story.payment.refresh_from_db()
        assert story.payment.standing == derive([row.value for row in story.payment.facts.all()], story.payment.terms)
        versions = list(story.payment.changes.values_list("version", flat=True))
        assert versions == list(range(1, story.payment.version + 1))
    ids = StatusChange.objects.exclude(stripe_event_id="").values_list("stripe_event_id", flat=True)
    assert len(ids) == len(set(ids))
    assert not Fact.objects.waiting().exists()
    assert_feeds_have_no_holes()


def count_deadlocks() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_force_next_flush()")
        cursor.execute("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
        return int(cursor.fetchone()[0])
