import logging
import os
import secrets
import signal
import socket
import sys
import threading
import time
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.db import close_old_connections
from django.utils import timezone

from payments.jobs import JOBS, Job, states
from payments.management.base import SETTINGS_CHECKS
from payments.management.runner import TICK, Runner
from payments.models import BackgroundJob

logger = logging.getLogger(__name__)

BEAT = 5.0  # seconds between two renewals of this process's right to do its jobs
GRACE = 5.0  # seconds that a round under way may take to end after SIGTERM


class Command(BaseCommand):
    help = (
        "Do all background work until stopped, each job at its own pace and in its own thread. Several machines may run"
        " this command: each job is done by one process at a time, and by another one within a minute if it dies."
    )
    requires_system_checks = SETTINGS_CHECKS

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--only", action="append", choices=JOBS, metavar="JOB", help="do only this job; may be repeated"
        )
        parser.add_argument("--list", action="store_true", help="list the jobs and how their last rounds went")

    def handle(self, *args: Any, only: list[str] | None, **options: Any) -> None:
        if options["list"]:
            for job, row, _late in states():
                self.stdout.write(described(job, row))
            return
        # A list, because the handler could wait for ever for the lock of a threading.Event that this thread waits for.
        signals: list[int] = []
        for stop in (signal.SIGTERM, signal.SIGINT):
            signal.signal(stop, lambda number, _: signals.append(number))
        self.work([JOBS[name] for name in only or JOBS], signals)

    def work(self, jobs: list[Job], signals: list[int]) -> None:
        """Do the jobs until `signals` holds one, then wait GRACE seconds at most for rounds under way."""
        holder = f"{socket.gethostname()[:40]}-{os.getpid()}-{secrets.token_hex(4)}"
        stopping = threading.Event()
        runners = [Runner(job, holder, stopping) for job in jobs]
        for runner in runners:
            runner.start()
        logger.info("work_started", extra={"jobs": ", ".join(job.name for job in jobs), "holder": holder})
        while not signals:
            for runner in runners:
                runner.keep()
            close_old_connections()
            renew_at = time.monotonic() + BEAT
            while not signals and time.monotonic() < renew_at:
                time.sleep(TICK)
        stopping.set()
        give_up_at = time.monotonic() + GRACE
        for runner in runners:
            runner.join(max(0, give_up_at - time.monotonic()))
            runner.release()
        cut = [runner.name for runner in runners if runner.is_alive()]
        logger.info("work_stopped", extra={"interrupted": ", ".join(cut)})
        if cut:
            # Python would wait for threads that are in the middle of a request. All jobs survive a kill.
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(0)


def described(job: Job, row: BackgroundJob) -> str:
    """Return a line about the job: how often it is done, and when the last rounds began, succeeded and failed."""
    pace = f"daily at {job.hour}:00" if job.hour is not None else f"every {job.every.total_seconds():g} s"
    times = {"begun": row.begun_at, "succeeded": row.succeeded_at, "failed": row.failed_at}
    said = [f"{word} {timezone.localtime(at):%Y-%m-%d %H:%M:%S}" for word, at in times.items() if at]
    error = [row.error] if row.is_failing else []
    return f"{job.name}: {'; '.join([pace, *said, *error, row.holder or 'no process'])}"
