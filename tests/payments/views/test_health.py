"""Tests of the health checks /livez and /readyz and of /metrics, requested as a monitoring system does."""

import json
import re
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import OperationalError, connection, transaction
from django.test import Client
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families
from pytest_django.fixtures import Settings

from accounts.models import User
from payments import gauges, metrics
from payments.live import hub
from payments.models import BackgroundJob, Feed
from tests.payments.faults import broken_ledger
from tests.payments.page import Page
from tests.payments.stripe_story import Story, deliver
from tests.waits import wait_until

pytestmark = pytest.mark.django_db(transaction=True)
ROOT = Path(__file__).parents[3]
Samples = dict[tuple[str, str], float]


def scrape(client: Client | None = None) -> Samples:
    """Return the values of /metrics by (metric's name, label values joined by spaces)."""
    answer = (client or Client()).get("/metrics")
    assert answer.status_code == 200
    families = text_string_to_metric_families(answer.content.decode())
    return {(each.name, " ".join(each.labels.values())): each.value for family in families for each in family.samples}


def test_livez_answers_without_the_database(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*args: object) -> None:
        raise OperationalError("the database is gone")

    monkeypatch.setattr(connection, "ensure_connection", gone)
    answer = client.get("/livez")
    assert (answer.status_code, answer.content) == (200, b"ok")


@pytest.mark.postgres
def test_readyz_writes_and_takes_it_back(client: Client) -> None:
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()["database"]) == (200, "ok")
    assert not Feed.objects.exists()


def test_readyz_is_503_within_two_seconds_while_nothing_can_be_written(client: Client) -> None:
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with transaction.atomic():  # begins IMMEDIATE on SQLite, so nothing else can write
            held.set()
            done.wait(100)
        connection.close()

    holder = threading.Thread(target=hold)
    holder.start()
    assert held.wait(60)
    try:
        answer = client.get("/readyz")
        assert answer.status_code == 503
        assert answer.json()["database"] == "no answer in 2 s"
        assert holder.is_alive()  # the response came while writes were still blocked
    finally:
        done.set()
        holder.join()


def test_readyz_is_503_without_a_database(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: object, **kwargs: object) -> None:
        raise OperationalError("disk full")

    monkeypatch.setattr(Feed.objects, "create", broken)
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()["database"]) == (503, "OperationalError")


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics"])
def test_probes_only_read(client: Client, path: str) -> None:
    assert client.post(path).status_code == 405


async def test_open_pages_show_in_readyz_and_metrics(patient: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "TAIL", 600)  # so that the hub makes no query between two lines of this test
    async with Page(patient) as page:
        await page.told_until_hello()
        assert (await sync_to_async(Client().get)("/readyz")).json() == {"database": "ok", "tail": "ok", "layer": "ok"}
        assert (await sync_to_async(scrape)())["payments_live_sockets", ""] == 1
        (running,) = hub.running()
        running.tailed_at -= 60
        assert (await sync_to_async(Client().get)("/readyz")).status_code == 503
        assert (await sync_to_async(scrape)())["payments_live_tail_age_seconds", ""] > 60


async def test_a_push_is_timed_from_commit_to_frame(patient: User, story: Story) -> None:
    before = await sync_to_async(scrape)()
    async with Page(patient) as page:
        await page.told_until_hello()
        await sync_to_async(deliver)(story.completed())
        assert (await page.told())["seq"] == 2
        after = await sync_to_async(scrape)()
    name = "payments_push_seconds_count", "push"
    assert after[name] == before[name] + 1


def test_deliveries_are_counted_by_what_became_of_them(story: Story) -> None:
    before = scrape()
    paid, foreign = story.completed(), Story(story.payment, livemode=True).completed()
    for event in (paid, paid, foreign):
        deliver(event)
    deliver(paid, secret="whsec_wrong")
    deliver("x" * 300_000)
    with broken_ledger(), pytest.raises(ZeroDivisionError):
        deliver(story.charged())
    after = scrape()
    found = {
        labels: after[name, labels] - before.get((name, labels), 0)
        for name, labels in after
        if name == "payments_webhooks_total"
    }
    assert {label: count for label, count in found.items() if count} == {
        "applied": 1,
        "applied_again": 1,
        "rejected_livemode": 1,
        "refused": 1,
        "too_large": 1,
        "error": 1,
    }
    assert after["payments_webhook_seconds_count", ""] - before["payments_webhook_seconds_count", ""] == 5
    assert after["payments_event_age_seconds_count", ""] - before["payments_event_age_seconds_count", ""] == 2
    assert after["payments_receipts", "failed"] == 1
    assert after["payments_by_status", "paid"] == 1
    assert after["payments_last_event_timestamp_seconds", ""] == pytest.approx(time.time(), abs=30)


def test_metrics_tell_what_the_process_knows_while_the_database_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    def away() -> Any:
        raise OperationalError("the database is gone")

    assert scrape()["payments_database_up", ""] == 1
    monkeypatch.setattr(gauges, "payments", away)
    found = scrape()
    assert (found["payments_database_up", ""], found["payments_live_sockets", ""]) == (0, 0)
    assert not [name for name, _labels in found if name in ("payments_receipts", "payments_by_status")]


@pytest.mark.postgres(only=True)
def test_who_waits_for_a_connection_is_counted(database: str) -> None:
    def waiting() -> float:
        return next(each.samples[0].value for each in gauges.delays_here() if each.name.endswith("pool_waiting"))

    connection.ensure_connection()
    pool = connection.pool  # type: ignore[attr-defined]
    taken = [pool.getconn() for _ in range(pool.max_size - 1)]
    assert waiting() == 0
    late = threading.Thread(target=lambda: taken.append(pool.getconn()))
    late.start()
    wait_until(waiting, "somebody waits for a connection")
    pool.putconn(taken.pop())
    late.join()
    for each in taken:
        pool.putconn(each)


def test_polls_are_counted(client: Client, patient: User) -> None:
    client.force_login(patient)
    before = scrape()
    client.get("/payments/live/?after=0")
    assert scrape()["payments_live_polls_total", ""] == before["payments_live_polls_total", ""] + 1


def test_metrics_name_nobody(story: Story) -> None:
    deliver(story.completed())
    text = Client().get("/metrics").content.decode()
    person, payment = story.payment.appointment.patient, story.payment
    planted = (person.last_name, person.username, str(payment.public_id), payment.appointment.reference, story.tag)
    assert not [secret for secret in planted if secret in text]


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ({"REMOTE_ADDR": "127.0.0.1"}, 200),
        ({"REMOTE_ADDR": "::1"}, 200),
        ({"REMOTE_ADDR": "203.0.113.9"}, 403),
        ({"REMOTE_ADDR": "127.0.0.1", "HTTP_X_FORWARDED_FOR": "203.0.113.9"}, 403),
        ({"REMOTE_ADDR": "203.0.113.9", "HTTP_AUTHORIZATION": "Bearer t0ken"}, 200),
        ({"REMOTE_ADDR": "127.0.0.1", "HTTP_AUTHORIZATION": "Bearer wrong"}, 403),
        ({"REMOTE_ADDR": "203.0.113.9", "HTTP_AUTHORIZATION": "Bearer "}, 403),
    ],
)
def test_metrics_are_for_this_machine_or_the_tokens_bearer(
    client: Client, settings: Settings, asked: dict[str, Any], status: int
) -> None:
    settings.CLINIC_METRICS_TOKEN = "t0ken"
    assert client.get("/metrics", **asked).status_code == status


def test_without_a_token_none_is_right(client: Client) -> None:
    asked: dict[str, Any] = {"REMOTE_ADDR": "203.0.113.9", "HTTP_AUTHORIZATION": "Bearer "}
    assert client.get("/metrics", **asked).status_code == 403


# deploy/prometheus-alerts.yml and deploy/grafana-dashboard.json

DEPLOY = ROOT / "deploy"
RULES = re.findall(r"expr: (.+)", (DEPLOY / "prometheus-alerts.yml").read_text())
PANELS = json.loads((DEPLOY / "grafana-dashboard.json").read_text())["panels"]
DASHBOARD = [target["expr"] for panel in PANELS for target in panel.get("targets", [])]


@pytest.fixture
def labels(story: Story) -> dict[str, set[str]]:
    """Return this site's metrics by the names that Prometheus gives them, each with the labels of its samples."""
    deliver(story.completed())
    BackgroundJob.objects.update(succeeded_at=timezone.now())
    for counter in (metrics.RECONNECTS, metrics.SOCKETS_CLOSED):
        counter.labels("test").inc(0)
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(Client().get("/metrics").content.decode()):
        for sample in family.samples:
            if sample.name.startswith("payments_") and not sample.name.endswith("_created"):
                found.setdefault(sample.name, set()).update(sample.labels)
    return found


def test_alerts_and_dashboard_ask_for_metrics_that_there_are(labels: dict[str, set[str]]) -> None:
    for expression in (*RULES, *DASHBOARD):
        named = re.findall(r"\bpayments_\w+", expression)
        assert set(named) <= labels.keys(), expression
        by = re.findall(r"by \(([^)]*)\)", expression)
        wanted = {label.strip() for group in by for label in group.split(",")} | set(
            re.findall(r"(\w+)=~?\"", expression)
        )
        known = {"job", "instance"}.union(*(labels[name] for name in named))
        assert wanted <= known, expression


def test_the_dashboard_shows_every_metric(labels: dict[str, set[str]]) -> None:
    shown = {name for expression in DASHBOARD for name in re.findall(r"\bpayments_\w+", expression)}
    assert {name for name in labels if not name.endswith(("_sum", "_count"))} == shown


def test_no_metric_has_a_label_that_prometheus_itself_gives(labels: dict[str, set[str]]) -> None:
    assert not {"job", "instance"} & set().union(*labels.values())


def test_the_dashboards_panels_have_places_and_descriptions_of_their_own() -> None:
    assert len({panel["id"] for panel in PANELS}) == len({panel["title"] for panel in PANELS}) == len(PANELS)
    taken: set[tuple[int, int]] = set()
    for panel in PANELS:
        at = panel["gridPos"]
        cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells
        assert panel["type"] == "row" or panel["description"]
