"""Tests of `manage.py work`: pace, failures, stopping, and two processes that share the jobs."""

import datetime
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from payments.jobs import JOBS, Job, make_rows, states
from payments.management.runner import LONGEST_PAUSE, Runner
from payments.models import BackgroundJob
from payments.models.job import LEASE
from payments_site.demo.process import Process
from payments_site.demo.site import ROOT
from tests.live_site import ForkedProcess, LiveSite
from tests.waits import PATIENCE, wait_until

Capture = pytest.CaptureFixture[str]
SECOND = datetime.timedelta(seconds=1)
HOUR = datetime.timedelta(hours=1)


def job(do: Callable[[], object] = int, every: datetime.timedelta = SECOND, hour: int | None = None) -> Job:
    return Job("mirror", JOBS["mirror"].title, do, every, hour)


def runner(job: Job, holder: str = "a") -> Runner:
    return Runner(job, holder, threading.Event())


def row(name: str = "mirror") -> BackgroundJob:
    return BackgroundJob.objects.get(name=name)


@pytest.mark.django_db
@pytest.mark.postgres
def test_one_process_at_a_time_has_a_job() -> None:
    assert BackgroundJob.objects.hold("mirror", "a")
    assert BackgroundJob.objects.hold("mirror", "b") is None
    assert BackgroundJob.objects.hold("sweep", "b")
    assert BackgroundJob.objects.hold("mirror", "a", error="kept")
    BackgroundJob.objects.release("mirror", "b")
    assert BackgroundJob.objects.hold("mirror", "b") is None
    BackgroundJob.objects.release("mirror", "a")
    taken = BackgroundJob.objects.hold("mirror", "b")
    assert taken
    assert (taken.holder, taken.error) == ("b", "kept")


@pytest.mark.django_db
@pytest.mark.postgres
def test_a_job_whose_process_died_is_free_after_its_lease() -> None:
    assert BackgroundJob.objects.hold("mirror", "a")
    BackgroundJob.objects.update(held_until=timezone.now() - SECOND)
    assert BackgroundJob.objects.hold("mirror", "b")
    assert BackgroundJob.objects.hold("mirror", "a") is None
    left = row().held_until
    assert left
    assert LEASE - 10 * SECOND < left - timezone.now() <= LEASE + SECOND


@pytest.mark.django_db
def test_a_failed_round_is_noted_and_repeated_after_longer_and_longer_pauses() -> None:
    def fail() -> None:
        raise ValueError("Camille Roux has no address")

    failing = runner(job(fail))
    failing.keep()
    pauses = []
    for _ in range(12):
        failing.do_round()
        pauses.append(failing.pause())
        assert timezone.now() < failing.due_at <= timezone.now() + pauses[-1]
    assert pauses[:3] == [2 * SECOND, 4 * SECOND, 8 * SECOND]
    assert pauses[-1] == LONGEST_PAUSE
    failing.keep()
    assert (row().error, row().is_failing, row().succeeded_at) == ("ValueError", True, None)


@pytest.mark.django_db
def test_a_round_that_succeeds_after_failures_is_followed_at_the_usual_pace() -> None:
    outcomes = iter([CommandError("2 failed: pi_1, pi_2."), None])

    def do() -> None:
        if error := next(outcomes):
            raise error

    mended = runner(job(do))
    mended.keep()
    mended.do_round()
    mended.keep()
    assert row().error == "2 failed: pi_1, pi_2."
    mended.do_round()
    mended.keep()
    assert not row().is_failing
    assert mended.due_at - timezone.now() <= SECOND


@pytest.mark.django_db
def test_a_process_that_takes_a_job_over_goes_on_at_its_pace() -> None:
    """A job that is done once a day isn't done again because another process has started."""
    done: list[int] = []
    BackgroundJob.objects.filter(name="mirror").update(succeeded_at=timezone.now() - HOUR)
    later = runner(job(lambda: done.append(1), every=24 * HOUR))
    later.keep()
    later.start()
    time.sleep(0.5)
    later.stopping.set()
    later.join()
    assert not done
    assert later.due_at > timezone.now() + 22 * HOUR


@pytest.mark.parametrize(
    ("succeeded", "due"),
    [
        ("2026-03-10 02:59", "2026-03-10 03:00"),
        ("2026-03-10 03:00", "2026-03-11 03:00"),
        ("2026-03-10 18:00", "2026-03-11 03:00"),
    ],
)
def test_a_daily_job_is_due_at_its_hour(succeeded: str, due: str) -> None:
    def moment(text: str) -> datetime.datetime:
        return timezone.make_aware(datetime.datetime.fromisoformat(text))

    assert job(hour=3).due_after(moment(succeeded)) == moment(due)


@pytest.mark.django_db
def test_a_job_is_late_after_its_patience_also_if_it_was_never_done() -> None:
    make_rows()
    assert not [job.name for job, _row, late in states() if late]
    BackgroundJob.objects.filter(name="sweep").update(created_at=timezone.now() - HOUR)
    BackgroundJob.objects.filter(name="mirror").update(succeeded_at=timezone.now() - HOUR)
    BackgroundJob.objects.filter(name="prune").update(succeeded_at=timezone.now() - 47 * HOUR)
    assert [job.name for job, _row, late in states() if late] == ["mirror", "sweep"]


@pytest.mark.django_db
def test_jobs_and_how_they_went_are_listed(capsys: Capture) -> None:
    BackgroundJob.objects.hold("mirror", "host-1", failed_at=timezone.now(), error="Stripe doesn't answer")
    call_command("work", "--list")
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == list(JOBS)
    assert lines[0].startswith("mirror: every 2 s; failed ")
    assert lines[0].endswith("; Stripe doesn't answer; host-1")


@pytest.mark.django_db
def test_an_unknown_job_is_refused() -> None:
    with pytest.raises(CommandError, match="invalid choice: 'washing'"):
        call_command("work", "--only", "washing")


# Real processes

SHORT = """
import datetime, sys
from payments.management.commands import work
from payments.models import job
work.BEAT = 0.3
job.LEASE = datetime.timedelta(seconds=2)
from payments.management import runner
runner.LEASE = job.LEASE
from django.core.management import execute_from_command_line
execute_from_command_line(["manage.py", *sys.argv[1:]])
"""


@contextmanager
def working(site: LiveSite, name: str, *arguments: str) -> Iterator[Process]:
    """Run `manage.py work` on the site with shorter leases than in production, so that the test needn't wait."""
    script = f"import django; django.setup(){SHORT}"
    command = [sys.executable, "-c", script, "work", *arguments]
    process = ForkedProcess(name, command, 0, site.folder / f"{name}.log", site.settings, cwd=ROOT)
    process.spawn()
    try:
        yield process
    finally:
        process.kill()


def listed(site: LiveSite, name: str) -> str:
    return next(line for line in site.manage("work", "--list").splitlines() if line.startswith(f"{name}:"))


@pytest.mark.slow
@pytest.mark.faults
@pytest.mark.parametrize("postgres", [False, True], ids=["sqlite", "postgres"])
def test_another_process_takes_over_when_one_is_killed(postgres: bool, make_site: Callable[..., LiveSite]) -> None:
    site = make_site(start=False, postgres=postgres)
    with working(site, "first", "--only", "send_emails") as first:
        wait_until(lambda: "job_taken" in first.log(), "the first process has the job")
        with working(site, "second", "--only", "send_emails") as second:
            wait_until(lambda: "work_started" in second.log(), "the second process runs")
            wait_until(lambda: f"-{first.pid}-" in listed(site, "send_emails"), "the first process keeps the job")
            assert "job_taken" not in second.log()
            first.kill()
            wait_until(lambda: "job_taken" in second.log(), "the second process has the job", 30)
            wait_until(lambda: f"-{second.pid}-" in listed(site, "send_emails"), "the job's row names it")
            second.stop(10, signal.SIGTERM)
            assert second._child
            assert second._child.returncode == 0
            assert "Traceback" not in second.log()
    assert listed(site, "send_emails").endswith("no process")


@pytest.mark.slow
@pytest.mark.faults
def test_work_does_every_job_and_stops_within_seconds(site: LiveSite) -> None:
    with working(site, "work") as work:
        wait_until(lambda: site.manage("work", "--list").count("succeeded") == len(JOBS), "every job is done once")
        began = time.monotonic()
        work.stop(10, signal.SIGTERM)
        assert time.monotonic() - began < 8
        assert work._child
        assert work._child.returncode == 0
    assert "job_failed" not in work.log()


@pytest.mark.slow
@pytest.mark.faults
def test_a_round_that_hangs_is_cut_when_work_stops(make_site: Callable[..., LiveSite], tmp_path: Path) -> None:
    """A fault is injected: the job's round sleeps for an hour."""
    site = make_site(start=False)
    script = (
        "import django, time; django.setup()\n"
        "from payments.jobs import JOBS, Job, register\n"
        "register(Job('mirror', JOBS['mirror'].title, lambda: print('asleep', flush=True) or time.sleep(3600)))"
        f"{SHORT}"
    )
    command = [sys.executable, "-c", script, "work", "--only", "mirror"]
    process = ForkedProcess("hangs", command, 0, tmp_path / "hangs.log", site.settings, cwd=ROOT)
    process.spawn()
    try:
        wait_until(lambda: "asleep" in process.log(), "the round has begun")
        process.stop(10, signal.SIGTERM)
        assert process._child
        assert process._child.returncode == 0
        assert "interrupted=mirror" in process.log()
    finally:
        process.kill()
    assert listed(site, "mirror").endswith("no process")


def test_the_command_starts_without_a_database_server(make_site: Callable[..., LiveSite]) -> None:
    """While PostgreSQL is down, `work` waits for it instead of ending."""
    site = make_site(start=False, DATABASE_URL="postgres://nobody@127.0.0.1:1/none")
    command = [sys.executable, "manage.py", "work", "--only", "sweep"]
    with subprocess.Popen(command, cwd=ROOT, env=site.settings, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        assert any("job_not_held" in line for line in process.stderr)
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
