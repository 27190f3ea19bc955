"""The registry of background jobs: what `manage.py work` does, and how often. Other apps register their own jobs."""

import datetime
import functools
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from django.core.management import call_command, get_commands, load_command_class
from django.db import connection
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from .models import BackgroundJob

DAY = datetime.timedelta(days=1)
PATIENCE = datetime.timedelta(minutes=15)  # a round may take so long, or fail for so long


@dataclass(frozen=True, slots=True)
class Job:
    """A background job. `do` does one round of it, and raises an exception if the round failed.

    `every` is the pause between two rounds. If `hour` is given, the job is done once a day after this hour instead.
    `stop` is called when the process stops, to wait for what the job still does. `title` names the job for staff.
    """

    name: str
    title: Promise
    do: Callable[[], object]
    every: datetime.timedelta = DAY
    hour: int | None = None
    stop: Callable[[], object] | None = None

    def due_after(self, succeeded_at: datetime.datetime | None) -> datetime.datetime:
        """Return when the next round is due if the last one succeeded at `succeeded_at`; None: none has succeeded."""
        if succeeded_at is None:
            return timezone.now()
        if self.hour is None:
            return succeeded_at + self.every
        local = timezone.localtime(succeeded_at)
        at_hour = local.replace(hour=self.hour, minute=0, second=0, microsecond=0)
        return at_hour if at_hour > local else at_hour + DAY

    @property
    def patience(self) -> datetime.timedelta:
        """Return after how much time without a successful round somebody has to look."""
        return max(PATIENCE, 2 * self.every)


JOBS: dict[str, Job] = {}


def register(job: Job) -> None:
    """Add a job to those that `manage.py work` does and that doctor and metrics watch; call this in AppConfig.ready."""
    JOBS[job.name] = job


def command(name: str) -> Callable[[], None]:
    """Return a function that runs the management command `name` once, without its output.

    All calls use one Command object, because `mirror` remembers in it which objects failed.
    """

    @functools.cache
    def loaded() -> Any:
        return load_command_class(get_commands()[name], name)

    def run() -> None:
        call_command(loaded(), stdout=io.StringIO(), stderr=io.StringIO())

    return run


def make_rows(**kwargs: Any) -> None:
    """Create the rows of jobs that have none. Called after each migration, so that a job never done is noticed.

    Do nothing if another app was migrated and this app's table doesn't exist yet.
    """
    if BackgroundJob._meta.db_table in connection.introspection.table_names():
        BackgroundJob.objects.bulk_create([BackgroundJob(name=name) for name in JOBS], ignore_conflicts=True)


def states() -> Iterator[tuple[Job, BackgroundJob, bool]]:
    """Yield each job with its row, and whether the job has had no successful round for longer than its patience."""
    rows = {row.name: row for row in BackgroundJob.objects.filter(name__in=JOBS)}
    for name, job in JOBS.items():
        row = rows.get(name) or BackgroundJob(name=name)
        yield job, row, (row.succeeded_at or row.created_at) < timezone.now() - job.patience


register(Job("mirror", _("Copies of Stripe’s records"), command("mirror"), datetime.timedelta(seconds=2)))
register(Job("sweep", _("Checks with Stripe"), command("sweep"), datetime.timedelta(minutes=2)))
register(Job("send_emails", _("E-mails to patients"), command("send_emails"), datetime.timedelta(seconds=5)))
register(Job("prune", _("Deleting old records"), command("prune"), hour=3))
register(Job("clearsessions", _("Deleting ended sessions"), command("clearsessions"), hour=3))
