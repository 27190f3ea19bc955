"""Tests of `manage.py work` with webhooks: real processes, kill -9, and a receiver that fails and comes back."""

import os
import signal
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise

import pytest

from payments_site.demo.process import Process
from payments_site.demo.site import ROOT
from tests.integrations.receiver import (
    Behaviour,
    Handler,
    Received,
    Receiver,
    answers,
    drips,
    hangs,
    hangs_up,
    receiving,
)
from tests.live_site import ForkedProcess, LiveSite
from tests.waits import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.faults]

# Production's times would make these tests last for days.
HURRIED = """
import datetime, django, sys
django.setup()
from integrations.models import webhook_endpoint, webhook_message
from integrations.outgoing import exchange
from payments.management import runner
from payments.management.commands import work
from payments.models import job
exchange.DEADLINE, exchange.CONNECT = 1.0, 0.5
webhook_endpoint.LONGEST_PAUSE = 0.3
webhook_message.CLAIM = datetime.timedelta(seconds=2)
webhook_message.PAUSES = (0.1,) * 500
work.BEAT = 0.3
job.LEASE = runner.LEASE = datetime.timedelta(seconds=2)
from django.core.management import execute_from_command_line
execute_from_command_line(["manage.py", "work", "--only", "send_webhooks"])
"""

BOOK = """
import datetime
from accounts.models import User
from appointments.models import Appointment, Practitioner
from django.utils import timezone
from integrations.models import WebhookEndpoint
start = timezone.now() + datetime.timedelta(days=1)
patient, doctor = User.objects.create_user("camille", last_name="Roux"), Practitioner.objects.create(name="Dr")
for url in {urls}:
    endpoint = WebhookEndpoint.objects.create(url=url)
    print(endpoint.readable_secret())
for number in range({payments}):
    Appointment.objects.create(patient=patient, practitioner=doctor, service="Visit", start=start,
                               end=start + datetime.timedelta(minutes=20), price_amount=5000)
"""

CHANGE = """
import datetime
from appointments.models import Appointment
for round in range({rounds}):
    for visit in Appointment.objects.order_by("pk"):
        visit.end += datetime.timedelta(minutes=1)
        visit.save()
"""


def site_with(make_site: Callable[..., LiveSite], postgres: bool) -> LiveSite:
    return make_site(start=False, postgres=postgres)


def run(site: LiveSite, script: str, **values: object) -> str:
    return site.manage("shell", "--no-imports", "--command", script.format(**values))


@contextmanager
def worker(site: LiveSite, name: str) -> Iterator[Process]:
    command, log = [sys.executable, "-c", HURRIED], site.folder / f"{name}.log"
    process = ForkedProcess(name, command, 0, log, site.settings, cwd=ROOT)
    process.spawn()
    try:
        yield process
    finally:
        process.kill()


def versions(requests: list[Received]) -> dict[str, list[int]]:
    """Return, for each payment, the versions of which the receiver was told, in the order of arrival."""
    found = defaultdict(list)
    for each in requests:
        found[each.data["payment_id"]].append(each.data["version"])
    return dict(found)


def is_told(receiver: Receiver, payments: int, last: int) -> bool:
    """Return whether the receiver has heard of version `last` of each payment."""
    told = versions(receiver.requests)
    return len(told) == payments and all(heard[-1] == last for heard in told.values())


def overlapping_requests_of_one_message(requests: list[Received]) -> list[str]:
    """Return the ids of messages that came a second time before the first request was answered."""
    by_id = defaultdict(list)
    for each in requests:
        by_id[each.headers["webhook-id"]].append((each.began, each.ended or float("inf")))
    return [name for name, spans in by_id.items() if any(second[0] < first[1] for first, second in pairwise(spans))]


def answers_after(seconds: float) -> Behaviour:
    def answer(handler: Handler) -> None:
        time.sleep(seconds)
        handler.answer(204)

    return answer


FAULTS: list[Behaviour] = [answers(500), hangs_up, hangs(3), drips(b"HTTP/1.1 200 OK\r\nX: ", 0.2), answers(302)]


@pytest.mark.parametrize(
    "postgres", [pytest.param(False, id="sqlite", marks=pytest.mark.nightly), pytest.param(True, id="postgres")]
)
def test_every_change_arrives_in_order_over_kills_and_a_receiver_that_fails(
    postgres: bool, make_site: Callable[..., LiveSite]
) -> None:
    """Each payment's changes arrive in their order, each at least once; another endpoint that is dead delays none."""
    site = site_with(make_site, postgres)
    payments, changes = 4, 5
    with receiving() as receiver, receiving() as dead:
        dead.usual = hangs(3)
        secret = run(site, BOOK, urls=[receiver.url, dead.url], payments=payments).split()[0]
        receiver.behaviours = [answers(204), *FAULTS, answers(204), answers(204), *FAULTS]
        with worker(site, "first") as first:
            wait_until(lambda: len(receiver.requests) >= 4, "the receiver has been told of something")
            first.kill()
        run(site, CHANGE, rounds=changes)
        with worker(site, "second") as second:
            wait_until(lambda: len(receiver.requests) >= 14, "the second process has gone on")
            second.kill()
            with worker(site, "third") as third:
                wait_until(lambda: is_told(receiver, payments, changes + 1), "every change was told")
                third.stop(10, signal.SIGTERM)
                assert third._child
                assert third._child.returncode == 0
    for told in versions(receiver.requests).values():
        assert sorted(set(told)) == list(range(1, changes + 2))
        assert told == sorted(told)  # again, or the next one; never an earlier one
    ids = {each.headers["webhook-id"]: each.body for each in receiver.requests}
    assert len(ids) == payments * (changes + 1)
    assert all(ids[each.headers["webhook-id"]] == each.body for each in receiver.requests)
    for each in receiver.requests:
        each.verify(secret)
    assert dead.requests
    logs = "".join(path.read_text() for path in site.folder.glob("*.log"))
    assert "webhook_delivered" in logs
    assert "Traceback" not in logs
    assert "Roux" not in logs
    assert secret not in logs


@pytest.mark.parametrize("postgres", [False, True], ids=["sqlite", "postgres"])
def test_two_processes_never_send_a_message_at_the_same_time(
    postgres: bool, make_site: Callable[..., LiveSite]
) -> None:
    """Also while one is frozen for longer than its lease, so that the other takes over, and then goes on.

    On SQLite none is frozen, because a frozen process may keep the whole database locked.
    """
    site = site_with(make_site, postgres)
    payments, changes = 3, 4
    with receiving() as receiver:
        receiver.usual = answers_after(0.1)
        run(site, BOOK, urls=[receiver.url], payments=payments)
        with worker(site, "first") as first, worker(site, "second") as second:
            wait_until(lambda: len(receiver.requests) >= 2, "one of them sends")
            run(site, CHANGE, rounds=changes)
            if postgres:
                holder, other = sorted((first, second), key=lambda each: "job_taken" not in each.log())
                os.kill(holder.pid, signal.SIGSTOP)
                wait_until(lambda: "job_taken" in other.log(), "the other one took over")
                os.kill(holder.pid, signal.SIGCONT)
            wait_until(lambda: is_told(receiver, payments, changes + 1), "every change was told")
    assert overlapping_requests_of_one_message(receiver.requests) == []
    for told in versions(receiver.requests).values():
        assert told == sorted(told)
        assert sorted(set(told)) == list(range(1, changes + 2))
