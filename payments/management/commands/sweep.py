import datetime
import time
from argparse import ArgumentParser
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from django.core.management.base import CommandError

from payments.gateway import sweep
from payments.gateway.checkout import expire_open
from payments.gateway.client import StripeRefusedError, StripeUnavailableError
from payments.management.base import OperatorCommand, at_least, rehearsal
from payments.models import Payment


class Command(OperatorCommand):
    help = (
        "Ask Stripe about payments that stand still, expire Checkout pages that must not be paid any more, settle"
        " refunds without an answer and find payments for waiting events. Safe on a timer and beside a running site."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)  # type: ignore[arg-type]
        parser.add_argument(
            "--quiet-for", type=at_least(0, float), default=10, metavar="MINUTES", help="leave newer ones alone (10)"
        )
        parser.add_argument(
            "--every", type=at_least(0, float), metavar="SECONDS", help="go on for ever, with this pause"
        )

    def handle(self, *args: Any, quiet_for: float, every: float | None, dry_run: bool, **options: Any) -> None:
        quiet = datetime.timedelta(minutes=quiet_for)
        while True:
            done = self.round(quiet, dry_run)
            if every is None:
                break
            time.sleep(every)
        self.say(f"{done['seen']} looked at, {done['moved']} payments moved" + " (dry run)" * dry_run)
        if failed := done["failed"]:
            raise CommandError(f"Stripe didn't answer {failed} times. What was done stays; run it again later.")

    def round(self, quiet: datetime.timedelta, dry_run: bool) -> Counter[str]:
        """Jobs that only ask Stripe are done in a dry run too, and taken back; the others change something there."""
        jobs: list[tuple[str, Iterable[Any], Callable[[Any], None], bool]] = [
            ("refund without an answer", sweep.unanswered_refunds(), sweep.resend, False),
            ("standing still", sweep.standing_still(quiet), sweep.ask, True),
            ("open page to expire", sweep.superfluous(), expire_open, False),
            ("event without its payment", sweep.waiting_links(), sweep.find_payment, True),
        ]
        done: Counter[str] = Counter()
        for label, found, job, asks in jobs:
            done += self.work(label, list(found), job, dry_run and asks, skip=dry_run and not asks)
        return done

    def work(
        self, label: str, found: list[Any], job: Callable[[Any], None], rehearse: bool, *, skip: bool
    ) -> Counter[str]:
        done = Counter(seen=len(found))
        for item in self.progress(found, label):
            self.say(f"{label}: {item}")
            before = item.status if isinstance(item, Payment) else ""
            try:
                with rehearsal(rehearse):
                    if not skip:
                        job(item)
                    if isinstance(item, Payment):
                        item.refresh_from_db()
            except (StripeUnavailableError, StripeRefusedError) as error:
                done["failed"] += 1
                self.stderr.write(f"{label}: {item}: {error}")
            done["moved"] += self.moved(item if isinstance(item, Payment) else None, before, label)
        return done
