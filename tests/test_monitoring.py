"""Tests of the alerts and the dashboard in deploy/ with Prometheus itself, and with what a site tells it."""

import json
import subprocess
import threading
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import yaml
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin

from payments_site.demo.process import HOST, Process, free_port
from tests.clinic import Clinic, Person, open_socket, socket_path
from tests.live_site import LiveSite
from tests.machine import needs
from tests.payments.views.test_health import DASHBOARD, DEPLOY
from tests.services import running
from tests.waits import PATIENCE, wait_until

ALERTS = DEPLOY / "prometheus-alerts.yml"
RULES = {rule["alert"]: rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]}
# By alert: series of 20 minutes that set it off, and series that don't. In Prometheus' notation, "a+bxn" is a counter
# that grows by b each minute, and "axn" a value that stays.
SLOW, FAST = ("0x20", "0+10x20", "0+10x20"), ("0+10x20",) * 3  # how many took up to 0.5 s, up to 5 s, and any time


def buckets(name: str, counts: tuple[str, ...]) -> dict[str, str]:
    return {f'{name}_bucket{{le="{le}"}}': values for le, values in zip(("0.5", "5", "+Inf"), counts, strict=True)}


CASES: dict[str, tuple[dict[str, str], dict[str, str]]] = {
    "PaymentsWebhookFailing": (
        {'payments_webhooks_total{outcome="error"}': "0+1x20"},
        {'payments_webhooks_total{outcome="error"}': "7x20"},
    ),
    "PaymentsWebhookRefused": (
        {
            'payments_webhooks_total{outcome="refused"}': "0+1x20",
            'payments_webhooks_total{outcome="applied"}': "0+3x20",
        },
        {
            'payments_webhooks_total{outcome="refused"}': "0+1x20",
            'payments_webhooks_total{outcome="applied"}': "0+9x20",
        },
    ),
    "PaymentsWebhookSlow": (buckets("payments_webhook_seconds", SLOW), buckets("payments_webhook_seconds", FAST)),
    "PaymentsEventsUnapplied": (
        {'payments_receipts_oldest_seconds{outcome="failed"}': "90x20"},
        {'payments_receipts_oldest_seconds{outcome="failed"}': "30x20"},
    ),
    "PaymentsEventsWaiting": (
        {'payments_receipts_oldest_seconds{outcome="deferred"}': "4000x20"},
        {'payments_receipts_oldest_seconds{outcome="deferred"}': "90x20"},
    ),
    "PaymentsEventsQuarantined": (
        {'payments_receipts{outcome="quarantined"}': "1x20"},
        {'payments_receipts{outcome="quarantined"}': "0x20"},
    ),
    "PaymentsStripeSilent": (
        {"payments_last_event_timestamp_seconds": "-100000x20"},  # the clock of these tests begins at 0
        {"payments_last_event_timestamp_seconds": "-80000x20"},
    ),
    "PaymentsRefundUnanswered": ({"payments_refunds_unanswered": "1x20"}, {"payments_refunds_unanswered": "0x20"}),
    "PaymentsJobOverdue": (
        {'payments_job_overdue{name="sweep"}': "1x20"},
        {'payments_job_overdue{name="sweep"}': "0x20"},
    ),
    "PaymentsRecordsCopied": ({"payments_reads_refused_total": "0+1x20"}, {"payments_reads_refused_total": "3x20"}),
    "PaymentsPushSlow": (buckets("payments_push_seconds", SLOW), buckets("payments_push_seconds", FAST)),
    "PaymentsHintsLost": (
        {"payments_live_feeds_found_late_total": "0+1x20", "payments_push_seconds_count": "0+10x20"},
        {"payments_live_feeds_found_late_total": "0+1x20", "payments_push_seconds_count": "0+30x20"},
    ),
    "PaymentsLayerDown": ({"payments_live_deaf": "1x20"}, {"payments_live_deaf": "0x20"}),
    "PaymentsPagesNotLive": (
        {"payments_live_tail_age_seconds": "15x20"},
        {"payments_live_tail_age_seconds": "3x20"},
    ),
    "PaymentsProbeLost": ({"payments_probe_age_seconds": "200x20"}, {"payments_probe_age_seconds": "70x20"}),
    "PaymentsProbeByTail": (
        {'payments_probe_seconds_count{path="tail"}': "0+1x20", 'payments_probe_seconds_count{path="push"}': "5x20"},
        {'payments_probe_seconds_count{path="tail"}': "5x20", 'payments_probe_seconds_count{path="push"}': "0+1x20"},
    ),
    "PaymentsLoopLate": ({"payments_live_loop_lag_seconds": "0.5x20"}, {"payments_live_loop_lag_seconds": "0.1x20"}),
    "PaymentsPoolWaiting": ({"payments_database_pool_waiting": "2x20"}, {"payments_database_pool_waiting": "0x20"}),
    "PaymentsDatabaseDown": ({"payments_database_up": "0x20"}, {"payments_database_up": "1x20"}),
    "PaymentsNotAnswering": ({"up": "0x20"}, {"payments_database_up": "1x20"}),
    "PaymentsReadersBehind": ({"payments_live_unsent_bytes": "600000x20"}, {"payments_live_unsent_bytes": "1000x20"}),
    "PaymentsReconnectStorm": (
        {'payments_live_reconnects_total{why="closed"}': "0+300x20", "payments_live_sockets": "10x20"},
        {'payments_live_reconnects_total{why="closed"}': "0+30x20", "payments_live_sockets": "10x20"},
    ),
}
SPLIT = {"PaymentsEventsUnapplied": {"outcome": "failed"}, "PaymentsJobOverdue": {"name": "sweep"}}  # labels of alerts


def in_prometheus(expression: str) -> str:
    """Return an expression of the dashboard without Grafana's variables."""
    return expression.replace("$__rate_interval", "1m").replace("$job", ".*")


@needs("promtool", "prometheus")
def test_prometheus_understands_the_alerts_and_the_dashboard(tmp_path: Path) -> None:
    rules = [{"record": f"panel_{number}", "expr": in_prometheus(text)} for number, text in enumerate(DASHBOARD)]
    panels = tmp_path / "dashboard.json"  # JSON is YAML too
    panels.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    command = ["promtool", "check", "rules", str(ALERTS), str(panels)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def alert_test(name: str, series: dict[str, str], *, fires: bool) -> dict[str, Any]:
    """Return one test for promtool: whether the alert fires after 20 minutes of these series."""
    rule = RULES[name]
    alert = {"exp_labels": rule["labels"] | SPLIT.get(name, {}), "exp_annotations": rule["annotations"]}
    return {
        "interval": "1m",
        "name": f"{name} {'fires' if fires else 'is quiet'}",
        "input_series": [{"series": each, "values": values} for each, values in series.items()],
        "alert_rule_test": [{"eval_time": "20m", "alertname": name, "exp_alerts": [alert] if fires else []}],
    }


@needs("promtool", "prometheus")
def test_each_alert_fires_when_it_should_and_is_quiet_otherwise(tmp_path: Path) -> None:
    assert CASES.keys() == RULES.keys()
    tests = [
        alert_test(name, series[not fires], fires=fires) for name, series in CASES.items() for fires in (True, False)
    ]
    file = tmp_path / "tests.json"
    file.write_text(json.dumps({"rule_files": [str(ALERTS)], "evaluation_interval": "1m", "tests": tests}))
    done = subprocess.run(["promtool", "test", "rules", str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


# A site at work, asked by a real Prometheus


class Prometheus:
    """A Prometheus that asks a site each second and knows the alerts."""

    def __init__(self, folder: Path, target: str) -> None:
        self.port = free_port()
        job = {"job_name": "payments", "static_configs": [{"targets": [target]}]}
        settings = {"global": {"scrape_interval": "1s"}, "rule_files": [str(ALERTS)], "scrape_configs": [job]}
        (folder / "prometheus.json").write_text(json.dumps(settings))
        options = {
            "config.file": folder / "prometheus.json",
            "storage.tsdb.path": folder / "data",
            "web.listen-address": f"{HOST}:{self.port}",
        }
        command = ["prometheus", *(f"--{name}={value}" for name, value in options.items())]
        self.process = Process("prometheus", command, self.port, folder / "prometheus.log", {})

    def values(self, expression: str) -> list[float]:
        """Return the newest value of each series that the expression gives, without NaN."""
        query = urllib.parse.urlencode({"query": expression})
        with urllib.request.urlopen(f"http://{HOST}:{self.port}/api/v1/query?{query}", timeout=PATIENCE) as answer:
            result = json.load(answer)["data"]["result"]
        found = [float(series["value"][1]) for series in result]
        return [value for value in found if value == value]


@contextmanager
def busy(clinic: Clinic) -> Iterator[None]:
    """Let events and polls come meanwhile, and pages lose their sockets and come back."""
    over = threading.Event()

    def work() -> None:
        for number in count():
            clinic.tell(clinic.story(payment=number % 40).completed())
            clinic.get("/payments/live/?after=0", clinic.staff[0])
            with come_back(clinic.site, clinic.staff[0]):
                if over.wait(1):
                    return

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def come_back(site: LiveSite, person: Person) -> ClientConnection:
    """Open a socket as a page does that has lost its first one."""
    address = site.url.replace("http", "ws") + socket_path(person, 0)
    cookie = {"Cookie": f"sessionid={person.session}"}
    return connect(f"{address}&try=1&why=closed", origin=Origin(site.url), additional_headers=cookie)


def end_session(site: LiveSite, person: Person) -> None:
    find = f"Session.objects.filter(session_key={person.session!r})"
    script = f"from django.contrib.sessions.models import Session; {find}.delete()"
    site.manage("shell", "--no-imports", "--command", script)


@pytest.mark.nightly
@pytest.mark.slow
@pytest.mark.timeout(600)
@needs("prometheus", "prometheus")
def test_no_panel_of_the_dashboard_is_empty(make_site: Callable[..., LiveSite], tmp_path: Path) -> None:
    site = make_site(postgres=True, redis=True, PROBE_SECONDS="1")
    prometheus = Prometheus(tmp_path, f"{HOST}:{site.server.port}")
    clinic = Clinic(site, staff=2, each=40)
    site.others.append(site.new_worker("work"))
    site.others[0].spawn()
    with (
        running(prometheus.process),
        open_socket(site, clinic.patients[0]),
        open_socket(site, clinic.staff[1]),
        busy(clinic),
    ):
        end_session(site, clinic.staff[1])
        for expression in map(in_prometheus, DASHBOARD):
            wait_until(partial(prometheus.values, expression), f"{expression} is shown")
        assert prometheus.values("up") == [1]
