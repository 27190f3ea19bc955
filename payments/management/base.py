"""What the operator's commands share: a progress bar, rehearsals, and errors that name the way out."""

import os
import sys
from argparse import ArgumentTypeError
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError, transaction
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from tqdm import tqdm

from payments.models import Payment

T = TypeVar("T")
USAGE = 2  # exit status for a wrong argument; work that failed exits with 1
INTERRUPTED = 130  # exit status after Ctrl-C, as shells have it
AGAIN = "What was done stays; run it again."


class OperatorCommand(BaseCommand):
    """A command that is safe to run twice. `--dry-run` shows what would change and leaves nothing behind."""

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="show what would change, and change nothing")

    def execute(self, *args: Any, **options: Any) -> str | None:
        """A database that refuses, Ctrl-C and a closed pipe are said in one line."""
        try:
            said = super().execute(*args, **options)
            self.stdout.flush()
        except DatabaseError as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise CommandError(f"The database refuses: {reason}. {AGAIN}") from error
        except KeyboardInterrupt:
            raise CommandError(f"Interrupted. {AGAIN}", returncode=INTERRUPTED) from None
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python complains when it ends
            raise CommandError(f"Nobody reads the output any more. {AGAIN}") from None
        return said

    def progress(self, items: Iterable[T], label: str) -> Iterator[T]:
        """A bar on a terminal, nothing in a pipe."""
        listed = list(items)
        yield from tqdm(listed, desc=label, disable=None if self.stderr.isatty() else True, leave=False)

    def say(self, line: str) -> None:
        with tqdm.external_write_mode(file=self.stdout):
            self.stdout.write(line)

    def moved(self, payment: Payment | None, before: str, why: str) -> bool:
        """Print one payment's move; returns whether there was one."""
        if payment is None or payment.status == before:
            return False
        self.say(f"{payment.public_id} {before} -> {payment.status} ({why})")
        return True


@contextmanager
def rehearsal(dry_run: bool) -> Iterator[None]:
    """With `dry_run`, everything written inside is taken back at the end, and nobody is told."""
    if not dry_run:
        yield
        return
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


def at_least(least: float, kind: Callable[[str], T] = int) -> Callable[[str], T]:  # type: ignore[assignment]
    """For add_argument(type=...): a number from `least` to a million."""

    def number(text: str) -> T:
        value = kind(text)
        if not least <= float(text) <= 1_000_000:
            raise ArgumentTypeError(f"{text} is not between {least} and 1000000")
        return value

    return number


def moment(text: str) -> Any:
    """A date or a date and time, in the clinic's time zone unless it names one. Raises CommandError."""
    try:
        parsed = parse_datetime(text) or parse_datetime(f"{text} 00:00")
    except ValueError:
        parsed = None
    if parsed is None:
        raise CommandError(f"{text!r} is no date. Write 2026-05-31 or '2026-05-31 14:00'.", returncode=USAGE)
    return parsed if timezone.is_aware(parsed) else timezone.make_aware(parsed)
