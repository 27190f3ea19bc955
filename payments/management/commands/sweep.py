import datetime
import time
from argparse import ArgumentParser
from collections.abc import Callable, Iterable
from typing import Any

from django.core.management.base import CommandError

from payments import sweep
from payments.management.base import OperatorCommand
from payments.stripe_client import StripeRefusedError, StripeUnavailableError


class Command(OperatorCommand):
    help = (
        "Ask Stripe about payments that stand still, expire Checkout pages that must not be paid any more, settle"
        " refunds without an answer and find payments for waiting events. Safe on a timer and beside a running site."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)  # type: ignore[arg-type]
        parser.add_argument(
            "--quiet-for", type=float, default=10, metavar="MINUTES", help="leave newer ones alone (10)"
        )
        parser.add_argument("--every", type=float, metavar="SECONDS", help="go on for ever, with this pause")

    def handle(self, *args: Any, quiet_for: float, every: float | None, dry_run: bool, **options: Any) -> None:
        quiet = datetime.timedelta(minutes=quiet_for)
        while True:
            failed = self.round(quiet, dry_run)
            if every is None:
                break
            time.sleep(every)
        if failed:
            raise CommandError(f"Stripe didn't answer {failed} times. What was done stays; run it again later.")

    def round(self, quiet: datetime.timedelta, dry_run: bool) -> int:
        jobs: list[tuple[str, Iterable[Any], Callable[[Any], None]]] = [
            ("refund without an answer", sweep.unanswered_refunds(), sweep.resend),
            ("standing still", sweep.standing_still(quiet), sweep.ask),
            ("open page to expire", sweep.superfluous(), sweep.expire),
            ("event without its payment", sweep.waiting_links(), sweep.find_payment),
        ]
        return sum(self.work(label, list(found), job, dry_run) for label, found, job in jobs)

    def work(self, label: str, found: list[Any], job: Callable[[Any], None], dry_run: bool) -> int:
        failed = 0
        for item in self.progress(found, label):
            self.say(f"{label}: {item}")
            try:
                if not dry_run:
                    job(item)
            except (StripeUnavailableError, StripeRefusedError) as error:
                failed += 1
                self.stderr.write(f"{label}: {item}: {error}")
        return failed
