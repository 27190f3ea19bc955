import time
from typing import Any

from django.core.management.base import CommandError, CommandParser

from payments.gateway import mirror
from payments.management.base import OperatorCommand, at_least


class Command(OperatorCommand):
    help = (
        "Update dj-stripe's copies of Checkout Sessions, PaymentIntents, charges, refunds and disputes after events"
        " about them. Runs until stopped; no payment waits for it."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--once", action="store_true", help="copy what is waiting, then stop")
        parser.add_argument(
            "--every", type=at_least(0, float), default=2, metavar="SECONDS", help="pause between rounds (2)"
        )

    def handle(self, *args: Any, once: bool, every: float, dry_run: bool, **options: Any) -> None:
        if dry_run:
            self.say(f"{mirror.waiting().count()} objects wait to be copied (dry run)")
            return
        while True:
            done, failed = mirror.refresh()
            if done or failed:
                self.say(f"{done} objects copied, {failed} failed")
            if once and done == 0:
                break
            time.sleep(0 if done and not failed else every)
        if failed:
            raise CommandError("Stripe didn't answer for some objects; they stay waiting.")
