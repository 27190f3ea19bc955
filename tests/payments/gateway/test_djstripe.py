"""Tests that dj-stripe's Event rows are made, and its receivers called, after the commit, and that none gets lost."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.test import Client
from djstripe import signals
from djstripe.models import Event as DjstripeEvent
from djstripe.models import WebhookEventTrigger

from payments.doctor import events
from payments.doctor.finding import Level
from payments.gateway import background, djstripe
from payments.gateway.background import EventWriter
from payments.gateway.webhooks import receive
from payments.ledger import Source
from payments.models import EventReceipt
from tests.payments.faults import broken_ledger
from tests.payments.stripe_story import Story, deliver

pytestmark = [pytest.mark.postgres, pytest.mark.django_db]


@contextmanager
def receiver(event_type: str, receive: Callable[..., Any]) -> Iterator[None]:
    signal = signals.WEBHOOK_SIGNALS[event_type]
    signal.connect(receive, sender=DjstripeEvent, weak=False)
    yield
    signal.disconnect(receive, sender=DjstripeEvent)


def test_events_are_stored_as_stripe_sent_them_and_once(story: Story) -> None:
    sent = [story.completed(), story.charged(), story.refund(1000)]
    for event in sent:
        deliver(event)
    assert not DjstripeEvent.objects.exists()
    assert background.store_waiting_events() == (3, [])
    assert {row.id: djstripe.as_event(row) for row in DjstripeEvent.objects.all()} == {e["id"]: e for e in sent}
    assert {trigger.event_id for trigger in WebhookEventTrigger.objects.all()} == {event["id"] for event in sent}
    assert background.store_waiting_events() == (0, [])
    assert not EventReceipt.objects.unstored().exists()


def test_an_event_fetched_from_stripe_is_stored_too(story: Story) -> None:
    event = story.completed()
    receive(event, Source.CATCH_UP)
    assert background.store_waiting_events() == (1, [])
    assert DjstripeEvent.objects.get().id == event["id"]


def test_an_event_that_failed_first_is_stored_from_its_first_delivery(story: Story) -> None:
    event = story.completed()
    with broken_ledger():
        deliver(event, Client(raise_request_exception=False))
    assert background.store_waiting_events() == (0, [])
    deliver(event)
    assert background.store_waiting_events() == (1, [])
    assert WebhookEventTrigger.objects.get().event.id == event["id"]


def test_receivers_hear_of_each_event_once(story: Story) -> None:
    heard: list[str] = []
    with receiver("charge.succeeded", lambda event, **kwargs: heard.append(event.id)):
        charged = story.charged()
        for event in (story.completed(), charged, charged):
            deliver(event)
        assert heard == []
        background.store_waiting_events()
        background.store_waiting_events()
    assert heard == [charged["id"]]


def test_a_receiver_that_fails_keeps_its_event_waiting_and_no_other(
    story: Story, caplog: pytest.LogCaptureFixture
) -> None:
    charged, writer = story.charged(), EventWriter()
    for event in (story.completed(), charged):
        deliver(event)
    with receiver("charge.succeeded", lambda **kwargs: 1 / 0):
        assert writer.store() == 1
        assert writer.store() == 0  # not before a pause
    assert "djstripe_event_not_stored" in {record.message for record in caplog.records}
    EventReceipt.objects.update(
        received_at=EventReceipt.objects.get(stripe_event_id=charged["id"]).received_at - events.GRACE * 2
    )
    assert events.unstored().level == Level.WARNING
    assert charged["id"] in events.unstored().what
    EventReceipt.objects.update(received_at=WebhookEventTrigger.objects.earliest("created").created)
    assert EventWriter().store() == 1
    assert events.unstored().level == Level.OK
