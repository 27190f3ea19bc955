"""The base class and argument types of this site's management commands."""

import datetime
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

from payments.gateway.client import StripeRefusedError, StripeUnavailableError, waiting_while_busy
from payments.models import Payment

T = TypeVar("T")
USAGE = 2  # exit status for a wrong argument; failed work exits with 1
BUSY_SECONDS = 120  # how long one request to Stripe waits at most while Stripe answers 429
INTERRUPTED = 130  # exit status after Ctrl-C, as in shells
RERUN = "What was done stays; run it again."


class OperatorCommand(BaseCommand):
    """Base of commands that are safe to run twice. With `--dry-run` they print what would change and change nothing."""

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="show what would change, and change nothing")

    def execute(self, *args: Any, **options: Any) -> str | None:
        """Run the command, and wait while Stripe is busy.

        An error of Stripe or the database, Ctrl-C or a closed pipe raises CommandError, which prints one line.
        """
        try:
            with waiting_while_busy(BUSY_SECONDS):
                output = super().execute(*args, **options)
            self.stdout.flush()
        except StripeUnavailableError as error:
            raise CommandError(f"Stripe doesn't answer ({error}). {RERUN}") from error
        except StripeRefusedError as error:
            raise CommandError(f"Stripe refuses ({error}). {RERUN}") from error
        except DatabaseError as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise CommandError(f"The database refuses: {reason}. {RERUN}") from error
        except KeyboardInterrupt:
            raise CommandError(f"Interrupted. {RERUN}", returncode=INTERRUPTED) from None
        except BrokenPipeError:
            # Python flushes standard output once more when it exits, which would print a second error.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise CommandError(f"Nobody reads the output any more. {RERUN}") from None
        return output

    def progress(self, items: Iterable[T], label: str) -> Iterator[T]:
        """Yield the items, and show a progress bar titled `label` if standard error is a terminal."""
        listed = list(items)
        yield from tqdm(listed, desc=label, disable=None if self.stderr.isatty() else True, leave=False)

    def say(self, line: str) -> None:
        """Write the line to standard output without breaking the progress bar."""
        with tqdm.external_write_mode(file=self.stdout):
            self.stdout.write(line)

    def moved(self, payment: Payment | None, before: str, why: str) -> bool:
        """Return whether the payment's status differs from `before`; if so, print the change and its reason `why`."""
        if payment is None or payment.status == before:
            return False
        self.say(f"{payment.public_id} {before} -> {payment.status} ({why})")
        return True


@contextmanager
def rehearsal(dry_run: bool) -> Iterator[None]:
    """Run the `with` block. If `dry_run` is true, roll back its writes at the end.

    Nothing is then sent that is otherwise sent after the commit: neither signals nor messages about new changes.
    """
    if not dry_run:
        yield
        return
    with transaction.atomic():
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
