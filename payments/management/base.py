"""The base class and argument types of this site's management commands."""

import datetime
import logging
import os
import sys
from argparse import ArgumentTypeError
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError, connection, transaction
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from tqdm import tqdm

from payments.gateway.client import (
    NotUnderstoodError,
    StripeKeyError,
    StripeRefusedError,
    StripeUnavailableError,
    waiting_while_busy,
)
from payments.models import EventReceipt, Payment

logger = logging.getLogger(__name__)
T = TypeVar("T")
USAGE = 2  # exit status for a wrong argument; failed work exits with 1
BUSY_SECONDS = 120  # how long one request to Stripe waits at most while Stripe answers 429
INTERRUPTED = 130  # exit status after Ctrl-C, as in shells
OUTAGE = 5  # after so many failures in a row, Stripe or the database is out of order, and not one item
NAMED = 5  # failed items that the last line names
RERUN = "What was done stays; run it again."

# The checks of settings (TAG in payments/checks.py). `manage.py check` runs all; those of URLs and models take longer
# than most commands, and don't depend on the machine.
SETTINGS_CHECKS = ["payments"]


class OperatorCommand(BaseCommand):
    """Base of commands that are safe to run twice. With `--dry-run` they print what would change and change nothing.

    `failed` has the name of each item (such as a payment or an event) for which a job raised an error; its value says
    whether Stripe or the database may be down. `untried` counts the items that were left out for that reason.
    """

    requires_system_checks = SETTINGS_CHECKS

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="show what would change, and change nothing")

    def execute(self, *args: Any, **options: Any) -> str | None:
        """Run the command once. While Stripe answers that it gets too many requests, wait and try again.

        An error of Stripe or the database, Ctrl-C or a closed pipe raises CommandError, which prints one line.
        """
        self.failed: dict[str, bool] = {}
        self.untried = 0
        try:
            with waiting_while_busy(BUSY_SECONDS):
                output = super().execute(*args, **options)
            self.stdout.flush()
        except StripeUnavailableError as error:
            raise CommandError(f"Stripe doesn't answer ({error}). {RERUN}") from error
        except StripeRefusedError as error:
            raise CommandError(f"Stripe refuses ({error}). {RERUN}") from error
        except DatabaseError as error:
            raise CommandError(f"The database refuses: {first_line(error)}. {RERUN}") from error
        except KeyboardInterrupt:
            raise CommandError(f"Interrupted. {RERUN}", returncode=INTERRUPTED) from None
        except BrokenPipeError:
            # Python flushes standard output once more when it exits, which would print a second error.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise CommandError(f"Nobody reads the output any more. {RERUN}") from None
        return output

    def progress(self, items: Iterable[T], label: str, done: int = 0) -> Iterator[T]:
        """Yield the items, and show a progress bar titled `label` if standard error is a terminal.

        `done` is the number of items that an earlier run dealt with; the bar starts there.
        """
        listed, hidden = list(items), None if self.stderr.isatty() else True
        yield from tqdm(listed, label, done + len(listed), initial=done, disable=hidden, leave=False)

    def each(
        self, items: Sequence[T], label: str, job: Callable[[T], None], *, name: Callable[[T], str] = str, done: int = 0
    ) -> None:
        """Call `job` for each item, and show a progress bar titled `label`, which starts at `done` items.

        If `job` raises an error, the item is named on standard error and in the log, and the next item follows;
        `finish` then makes the command fail. After OUTAGE errors of Stripe or the database in a row, the remaining
        items are left out.
        """
        outages = 0
        for number, item in enumerate(self.progress(items, label, done)):
            try:
                job(item)
                outages = 0
            except (CommandError, BrokenPipeError):  # nobody reads what is said of the other items
                raise
            except Exception as error:  # noqa: BLE001 - whatever one item raises must not stop the others
                self.report(label, name(item), error)
                outages = outages + 1 if is_outage(error) else 0
            if outages == OUTAGE:
                self.untried += len(items) - number - 1
                return

    def report(self, label: str, name: str, error: Exception) -> None:
        """Note that a job raised `error` for the item `name`, and write that to standard error and to the log."""
        self.failed[name] = is_outage(error)
        fields = {"job": label, "item": name, "error": type(error).__name__}
        if isinstance(error, StripeUnavailableError | StripeRefusedError):
            text = str(error)
            logger.warning("command_item_failed", extra=fields)
        else:
            text = f"{type(error).__name__}: {first_line(error)}"
            logger.error("command_item_failed", extra=fields, exc_info=error)
        with tqdm.external_write_mode(file=self.stderr):
            self.stderr.write(f"{label}: {name}: {text}")
        if isinstance(error, DatabaseError) and not connection.is_usable():
            connection.close()  # so that the next item gets a connection that works

    def finish(self) -> None:
        """Raise CommandError with a summary if a job has failed for any item."""
        if not self.failed:
            return
        named = ", ".join(list(self.failed)[:NAMED]) + (", ..." if len(self.failed) > NAMED else "")
        outage = f" Stripe or the database doesn't answer: {self.untried} not tried." if self.untried else ""
        raise CommandError(f"{len(self.failed)} failed: {named}.{outage} {RERUN}")

    def say(self, line: str) -> None:
        """Write the line to standard output without breaking the progress bar."""
        with tqdm.external_write_mode(file=self.stdout):
            self.stdout.write(line)

    def agreed(self, question: str) -> bool:
        """Ask the question, and return whether the answer is yes. Raises CommandError if nobody can answer."""
        try:
            return input(f"{question} [y/N] ").strip().lower() in ("y", "yes")
        except EOFError:
            raise CommandError("Nobody answers. Run it again with --yes.", returncode=USAGE) from None

    def moves(self, payment: Payment, job: Callable[[], object], why: str, *, dry_run: bool) -> bool:
        """Call `job`, and return whether it changed the payment's status; if so, print the change and its reason `why`.

        With `dry_run`, what the job wrote is rolled back. What the job raises is raised here, too.
        """
        before, not_understood = payment.status, None
        with rehearsal(dry_run):
            try:
                job()
            except NotUnderstoodError as error:  # the rest was understood and recorded
                not_understood = error
            payment.refresh_from_db()
        moved = payment.status != before
        if moved:
            self.say(f"{payment.public_id} {before} -> {payment.status} ({why})")
        if not_understood:
            raise not_understood
        return moved


def require_understood(receipt: EventReceipt) -> None:
    """Raise NotUnderstoodError if the event of this EventReceipt row has an object that the site couldn't read."""
    if receipt.outcome == EventReceipt.Outcome.QUARANTINED:
        raise NotUnderstoodError(receipt.detail)


def is_outage(error: Exception) -> bool:
    """Return whether the cause is Stripe, the API key or the database, so that other payments fail with it as well."""
    one_item = isinstance(error, NotUnderstoodError)
    return isinstance(error, StripeUnavailableError | StripeKeyError | DatabaseError) and not one_item


def first_line(error: Exception) -> str:
    """Return the first line of the error's text, or the name of its type if it has no text.

    Further lines of a database error may contain personal data, so they aren't shown.
    """
    return (str(error).splitlines() or [type(error).__name__])[0]


@contextmanager
def rehearsal(dry_run: bool) -> Iterator[None]:
    """Run the `with` block. If `dry_run` is true, roll back its writes at the end.

    Nothing is then sent that is otherwise sent after the commit: neither signals nor messages about new changes.
    """
    if not dry_run:
        yield
        return
    with transaction.atomic(), waiting_while_busy(0):  # PostgreSQL ends a transaction that is idle for 15 s
        yield
        transaction.set_rollback(True)


def at_least(least: float, kind: Callable[[str], T] = int) -> Callable[[str], T]:  # type: ignore[assignment]
    """Return an argparse `type` that converts a text with `kind` and accepts numbers from `least` to a million."""

    def number(text: str) -> T:
        value = kind(text)
        if not least <= float(text) <= 1_000_000:
            raise ArgumentTypeError(f"{text} is not between {least} and 1000000")
        return value

    return number


def parse_time(text: str) -> datetime.datetime:
    """Parse a date or a date and time; a date alone means midnight. Raises CommandError if the text is neither.

    A text without a UTC offset is in the clinic's time zone.
    """
    try:
        parsed = parse_datetime(text) or parse_datetime(f"{text} 00:00")
    except ValueError:
        parsed = None
    if parsed is None:
        raise CommandError(f"{text!r} is no date. Write 2026-05-31 or '2026-05-31 14:00'.", returncode=USAGE)
    return parsed if timezone.is_aware(parsed) else timezone.make_aware(parsed)
