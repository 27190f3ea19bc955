"""Tests of the probe, which measures how soon a process with open sockets learns of a change.

Such a process regularly writes a number to the database and waits until its hub, the sender of changes, notices.
"""

import asyncio
import logging
import time

import pytest
from asgiref.sync import sync_to_async
from django.db import OperationalError
from pytest_django.fixtures import Settings

from accounts.models import User
from payments import metrics
from payments.doctor import database, delivery
from payments.doctor.finding import Level
from payments.live import hub, probe
from payments.models import Feed, FeedEntry
from payments.models.feed import Position
from tests.payments.page import Page
from tests.payments.views.test_health import scrape
from tests.services import Service
from tests.waits import until

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def often(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.CLINIC_PROBE_SECONDS = 0.1
    monkeypatch.setattr(hub, "TAIL", 0.3)


@pytest.fixture
def layer(settings: Settings, redis_server: Service) -> None:
    """Use Redis as the channel layer, so that even the process that sends a probe gets the hint of it through Redis."""
    host = {"address": redis_server.url, "socket_timeout": 15}
    backend = "channels_redis.pubsub.RedisPubSubChannelLayer"
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": backend, "CONFIG": {"hosts": [host], "prefix": "probed"}}}


def returned(path: str) -> int:
    """Return the number of probes that came back by `path`.

    `path` is metrics.PUSH (by a hint through the channel layer) or metrics.TAIL (by the hub's query of the database).
    """
    (histogram,) = metrics.PROBE_SECONDS.collect()
    return int(sum(s.value for s in histogram.samples if s.name.endswith("_count") and s.labels["path"] == path))


async def test_a_probe_comes_back_by_a_hint_and_no_page_hears_of_it(patient: User) -> None:
    before = returned(metrics.PUSH)
    async with Page(patient) as page:
        await page.told_until_hello()
        await until(lambda: returned(metrics.PUSH) >= before + 2, "two probes come back")
        assert (await sync_to_async(scrape)())["payments_probe_age_seconds", ""] < 60
        await page.socket.send_to("ping")
        assert (await page.told())["t"] == "hb"  # the first message is the answer to the ping, not a probe
    assert not hub.running()


async def test_a_probe_goes_through_the_layer_where_there_is_one(layer: None, patient: User) -> None:
    before = returned(metrics.PUSH)
    async with Page(patient):
        await until(lambda: returned(metrics.PUSH) > before, "a probe comes back")
    await until(lambda: "Subscriber.run" not in str(asyncio.all_tasks()), "nobody listens for pages that are gone")


async def test_a_probe_whose_hint_is_lost_comes_back_by_the_tail(
    patient: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe.Probe, "_publish", lambda self, seq: None)
    before = returned(metrics.TAIL)
    async with Page(patient):
        await until(lambda: returned(metrics.TAIL) > before, "a probe comes back by the tail")


async def test_a_probe_that_cannot_be_written_is_missed_and_told(
    patient: User, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full() -> tuple[Position, float]:
        raise OperationalError("disk full")

    monkeypatch.setattr(probe, "write", full)
    with caplog.at_level(logging.ERROR, logger="payments.live.probe"):
        async with Page(patient):
            await until(lambda: "live_probe_failed" in caplog.text, "the failure is logged")
            (running,) = hub.running()
            assert running.probe
            running.probe.returned_at -= 300
            assert (await sync_to_async(scrape)())["payments_probe_age_seconds", ""] > 300
            verdict = delivery.live()
    assert verdict.level == Level.WARNING
    assert "live_probe_failed" in verdict.fix


async def test_it_can_be_switched_off(patient: User, settings: Settings) -> None:
    settings.CLINIC_PROBE_SECONDS = 0
    async with Page(patient) as page:
        await page.told_until_hello()
        (running,) = hub.running()
        began = running.tailed_at
        await until(lambda: running.tailed_at > began, "the hub looks at the database, which a probe would do sooner")
        assert (await sync_to_async(scrape)())["payments_probe_age_seconds", ""] == 0
    assert not await Feed.objects.aexists()


async def test_a_loop_that_is_held_up_is_seen(patient: User, monkeypatch: pytest.MonkeyPatch) -> None:
    async with Page(patient) as page:
        await page.told_until_hello()
        monkeypatch.setattr(hub, "TAIL", 600)  # so that no second measurement replaces the first
        time.sleep(0.6)  # noqa: ASYNC251 that is the fault
        (running,) = hub.running()
        await until(lambda: running.lag > 0.2, "the loop notices that it woke late")
        assert (await sync_to_async(scrape)())["payments_live_loop_lag_seconds", ""] > 0.2


def test_the_feed_of_probes_is_numbered_as_any_pruned_one() -> None:
    assert [probe.write()[0].seq for _ in range(3)] == [1, 2, 3]
    assert not FeedEntry.objects.exists()
    assert database.feeds().level == Level.OK
