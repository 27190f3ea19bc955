"""Tests of manage.py's commands with wrong arguments, corrupt rows, a read-only database, and a closed output pipe."""

import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from djstripe.models import Event as DjstripeEvent
from djstripe.models import WebhookEventTrigger

from payments.domain.status import PaymentStatus
from payments.gateway import background
from payments.models import EventReceipt, Fact, FeedEntry, Payment, StatusChange
from payments_site.demo.site import ROOT
from tests.live_site import ForkedSite
from tests.payments.stripe_story import Story, deliver

Capture = pytest.CaptureFixture[str]
COMMANDS = ("replay_events", "catch_up", "reconcile", "sweep", "mirror", "prune")

WRONG = [
    ("replay_events", "--id", "evt_nowhere", "No stored event evt_nowhere"),
    ("replay_events", "--since", "yesterday", "'yesterday' is no date"),
    ("replay_events", "--since", "2026-13-40", "is no date"),
    ("replay_events", "--since", "2026-05-31", "--until", "2026-05-01", "is not before"),
    ("replay_events", "--limit", "-1", "not between 0"),
    ("catch_up", "--since", "31/05/2026", "Write 2026-05-31"),
    ("reconcile", "nonsense", "No payment nonsense"),
    ("reconcile", str(uuid.UUID(int=0)), "No payment 00000000"),
    ("prune", "--deliveries", "-1", "not between 0"),
    ("prune", "--feeds", "99999999999", "not between 0"),
    ("sweep", "--quiet-for", "nan", "not between 0"),
    ("send_webhooks", "--from", "0", "not between 1"),
    ("send_webhooks", "--from", "5", "--from needs --endpoint; there are: none"),
]


@pytest.mark.django_db
@pytest.mark.parametrize("words", WRONG, ids=" ".join)
def test_a_wrong_argument_is_named_with_the_way_out(words: tuple[str, ...]) -> None:
    with pytest.raises(CommandError, match=re.escape(words[-1])) as refused:
        call_command(*words[:-1])
    assert refused.value.returncode == 2 or "argument" in str(refused.value)  # argparse's own errors exit with 2


def everything() -> list[Any]:
    tables: tuple[Any, ...] = (Payment, Fact, StatusChange, FeedEntry, EventReceipt, DjstripeEvent, WebhookEventTrigger)
    return [list(table.objects.order_by("pk").values()) for table in tables]


@pytest.mark.django_db
@pytest.mark.parametrize("words", [("replay_events", "--force"), ("prune", "--feeds", "0", "--deliveries", "0")])
def test_a_dry_run_changes_no_column_of_any_row(story: Story, words: tuple[str, ...]) -> None:
    for event in (story.failed(), story.charged(), story.refund(1000)):
        deliver(event)
    before = everything()
    call_command(*words, "--dry-run")
    assert everything() == before


@pytest.mark.django_db
def test_a_corrupt_event_is_named_and_the_others_are_applied(story: Story, capsys: Capture) -> None:
    events = [story.failed(), story.succeeded(), story.charged()]
    for event in events:
        deliver(event)
    background.store_waiting_events()
    for event, harm in zip(events, ({}, {"created": "x"}, None), strict=True):
        kept = {} if harm == {} else event | (harm or {})
        DjstripeEvent.objects.filter(id=event["id"]).update(stripe_data=kept)
    WebhookEventTrigger.objects.update(event=None, body="[1]")
    with pytest.raises(CommandError, match="2 failed") as refused:
        call_command("replay_events", "--force")
    assert refused.value.returncode == 1
    said = capsys.readouterr()
    assert events[0]["id"] in said.err
    assert events[1]["id"] in said.err
    assert f"{events[2]['id']} {events[2]['type']} no_change" in said.out
    story.payment.refresh_from_db()
    assert story.payment.status == PaymentStatus.PAID


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("words", [("prune",), ("replay_events", "--force")], ids=lambda words: words[0])
def test_a_database_that_is_only_read_is_named(story: Story, words: tuple[str, ...], capsys: Capture) -> None:
    deliver(story.refund(1000))
    deliver(story.completed())
    before = everything()
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA query_only = ON")
        try:
            with pytest.raises(CommandError):
                call_command(*words)
        finally:
            cursor.execute("PRAGMA query_only = OFF")
    assert everything() == before


class Shell:
    """Runs manage.py as an operator does, on a database with one payment and stored events that are not applied yet."""

    def __init__(self, folder: Path, template: Path) -> None:
        self.site = ForkedSite(folder, STRIPE_API_HOST="http://127.0.0.1:1")
        shutil.copyfile(template, self.site.database_file)
        self.site.manage("shell", "--no-imports", "--command", MAKE)

    def start(self, *words: str, **env: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-u", "manage.py", *words], cwd=ROOT, env={**os.environ, **self.site.settings, **env},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # shells ignore it in background jobs
        )  # fmt: skip

    def status(self) -> tuple[str, int]:
        """Return the payment's status and how often it has changed."""
        with sqlite3.connect(self.site.database_file) as database:
            changes = "SELECT count(*) FROM clinic_payments_statuschange"
            rows = f"SELECT status, version, ({changes}) FROM clinic_payments_payment"  # noqa: S608
            status, version, changes = database.execute(rows).fetchone()
        assert version == changes
        return status, changes


MAKE = """
import datetime, json
from accounts.models import User
from django.utils import timezone
from appointments.models import Appointment, Practitioner
from payments.gateway import djstripe
from tests.payments.stripe_story import Story

start = timezone.now()
visit = Appointment.objects.create(
    patient=User.objects.create_user("patient"), practitioner=Practitioner.objects.create(name="Dr"), service="Visit",
    start=start, end=start + datetime.timedelta(minutes=20), price_amount=5000)
story = Story(visit.payment)
for event in [*(story.failed(name) for name in "ABCDEFGHIJ"), story.completed("A"), story.charged("A")]:
    djstripe.delivery_record(djstripe.find_endpoint(None), json.dumps(event), "127.0.0.1", "Stopped").save()
"""


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path) -> Shell:
    return Shell(tmp_path_factory.mktemp("shell"), sqlite_template)


@pytest.fixture(scope="module")
def replayed(shell: Shell) -> Shell:
    """Apply all stored events with replay_events, and return the `Shell` whose payment they changed."""
    if shell.status()[0] != "paid":
        ended(shell.start("replay_events"))
    return shell


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    said, complaints = process.communicate(timeout=60)
    for word in ("Traceback", "Exception ignored", "UnicodeEncodeError"):
        assert word not in complaints
    return process.returncode, said, complaints


def test_two_replays_at_once_apply_everything_once(shell: Shell) -> None:
    plain = {"LC_ALL": "C", "LANG": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}  # no UTF-8, as under cron
    for process in [shell.start("replay_events", **plain) for _ in range(2)]:
        status, said, _ = ended(process)
        assert (status, "0 failed" in said) == (0, True)
    assert shell.status()[0] == "paid"


@pytest.mark.parametrize("stop", [signal.SIGINT, pytest.param(signal.SIGKILL, marks=pytest.mark.nightly)])
def test_a_command_that_was_stopped_midway_changes_nothing_when_it_is_run_again(
    replayed: Shell, stop: signal.Signals
) -> None:
    before = replayed.status()
    replay = replayed.start("replay_events", "--force")
    assert replay.stdout
    assert replay.stdout.readline().startswith("evt_")
    replay.send_signal(stop)
    _, complaints = replay.communicate(timeout=60)  # Python may complain too, depending on where it was interrupted
    status = replay.returncode
    assert status == {signal.SIGINT: 130, signal.SIGKILL: -9}[stop]
    assert stop == signal.SIGKILL or "Interrupted. What was done stays; run it again." in complaints
    again = replayed.start("replay_events", "--force", "--limit", "3")
    assert "3 replayed, 0 moved, 0 failed" in ended(again)[1]
    assert replayed.status() == before


def test_a_reader_that_goes_away_is_said(shell: Shell) -> None:
    process = shell.start("replay_events", "--force")
    assert process.stdout
    process.stdout.close()
    assert process.stderr
    complaints = process.stderr.read()
    assert process.wait(60) == 1
    assert "Nobody reads the output any more. What was done stays; run it again." in complaints
    assert "Traceback" not in complaints
    assert "Exception ignored" not in complaints


def test_stripe_out_of_reach_without_a_key_and_with_a_wrong_one_is_said_with_the_way_out(shell: Shell) -> None:
    live = "sk_live_" + "0" * 24
    asked = {
        "": "run it again",
        live: "STRIPE_LIVE_MODE is False",
        shell.site.settings["STRIPE_SECRET_KEY"]: "run it again",
    }
    for process, expected in [(shell.start("catch_up", STRIPE_SECRET_KEY=key), said) for key, said in asked.items()]:
        status, _, complaints = ended(process)
        assert status == 1
        assert expected in complaints
        assert "sk_" not in complaints.replace("STRIPE_SECRET_KEY", "")
