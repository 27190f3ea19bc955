"""Runs a background job in a thread, for as long as this process has the right to do the job."""

import datetime
import logging
import threading
import time
from typing import Any

from django.core.management.base import CommandError
from django.db import Error, close_old_connections
from django.utils import timezone

from payments.addresses import keep_server_prefix
from payments.jobs import Job
from payments.models import BackgroundJob
from payments.models.job import LEASE

logger = logging.getLogger(__name__)

TICK = 0.2  # seconds between two looks at whether a round is due
LONGEST_PAUSE = datetime.timedelta(minutes=5)  # after a round that failed


class Runner(threading.Thread):
    """Does rounds of one job until the event `stopping` is set. A round that fails is repeated after growing pauses.

    The main thread calls `keep` every few seconds. It renews this process's right to do the job, under the name
    `holder`, and stores how the last rounds went.
    """

    def __init__(self, job: Job, holder: str, stopping: threading.Event) -> None:
        super().__init__(name=job.name, daemon=True)
        self.job, self.holder, self.stopping = job, holder, stopping
        self.held_until = 0.0  # on the monotonic clock
        self.due_at = timezone.now()
        self.failures = 0  # in a row
        self.news: dict[str, Any] = {}  # fields of the job's row

    @property
    def is_holding(self) -> bool:
        return time.monotonic() < self.held_until

    def run(self) -> None:
        keep_server_prefix()
        while not self.stopping.wait(TICK):
            if self.is_holding and timezone.now() >= self.due_at:
                self.do_round()
                close_old_connections()
        if self.job.stop:
            self.job.stop()

    def do_round(self) -> None:
        self.news = self.news | {"begun_at": timezone.now()}
        try:
            self.job.do()
        except Exception as error:  # noqa: BLE001 - whatever one job raises must not stop the others
            self.failures += 1
            self.news = self.news | {"failed_at": timezone.now(), "error": self.describe(error)}
            self.due_at = timezone.now() + self.pause()
        else:
            self.failures = 0
            self.news = self.news | {"succeeded_at": timezone.now()}
            self.due_at = self.job.due_after(timezone.now())

    def pause(self) -> datetime.timedelta:
        """Return how long to wait after the last of `failures` failed rounds."""
        first = min(self.job.every, datetime.timedelta(minutes=1))
        return min(first * (1 << min(self.failures, 10)), LONGEST_PAUSE)

    def describe(self, error: Exception) -> str:
        """Log the error, and return a text about it that contains no personal data.

        Only commands' own errors are shown in full, because they name items by their ids.
        """
        text = str(error) if isinstance(error, CommandError) else type(error).__name__
        fields = {"job": self.job.name, "error": text, "failures": self.failures}
        logger.warning("job_failed", extra=fields, exc_info=None if isinstance(error, CommandError) else error)
        return text[:200]

    def keep(self) -> None:
        """Renew this process's right to do the job, or take it if no process has it, and store the news.

        While the database can't be asked, the right lasts as long as the last answer said.
        """
        asked_at, was_holding = time.monotonic(), self.is_holding
        try:
            row = BackgroundJob.objects.hold(self.job.name, self.holder, **self.news)
        except Error as error:
            logger.warning("job_not_held", extra={"job": self.job.name, "error": type(error).__name__})
            return
        if row is None:
            self.held_until = 0
            return
        if not was_holding:
            self.due_at = self.job.due_after(row.succeeded_at)
            logger.info("job_taken", extra={"job": self.job.name, "holder": self.holder})
        self.held_until = asked_at + LEASE.total_seconds()

    def release(self) -> None:
        """Let other processes do the job at once. If the database can't be asked, they wait until the right ends."""
        try:
            BackgroundJob.objects.release(self.job.name, self.holder, **self.news)
        except Error as error:
            logger.warning("job_not_released", extra={"job": self.job.name, "error": type(error).__name__})
