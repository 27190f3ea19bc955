import time
from typing import Any

from django.core.management.base import CommandParser

from payments.gateway import mirror
from payments.gateway.background import writer
from payments.management.base import OperatorCommand, at_least
from payments.models import EventReceipt

PAUSE_AFTER_FAILURE = 600  # seconds


class Command(OperatorCommand):
    help = (
        "Store events in dj-stripe's tables if the web processes haven't, and update dj-stripe's copies of Checkout"
        " Sessions, PaymentIntents, charges, refunds and disputes. Runs until stopped; no payment waits for it."
    )

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.again_at: dict[str, float] = {}  # when, on the monotonic clock, an object that failed is tried again

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--once", action="store_true", help="store and copy what is waiting, then stop")
        parser.add_argument(
            "--every", type=at_least(0, float), default=2, metavar="SECONDS", help="pause between rounds (2)"
        )

    def handle(self, *args: Any, once: bool, every: float, dry_run: bool, **options: Any) -> None:
        if dry_run:
            events = EventReceipt.objects.unstored().count()
            self.say(f"{mirror.waiting().count()} objects wait to be copied, {events} events to be stored (dry run)")
            return
        while True:
            writer.store()
            done = self.copy_waiting()
            if once:
                break
            time.sleep(0 if done and not self.failed else every)
        self.finish()

    def copy_waiting(self) -> int:
        """Copy Stripe objects that had new events into dj-stripe's tables, and return how many were copied.

        An object that can't be copied isn't tried again before PAUSE_AFTER_FAILURE, so that not every round requests
        the object from Stripe.
        """
        now = time.monotonic()
        self.again_at = {object_id: at for object_id, at in self.again_at.items() if at > now}
        items = [object_id for object_id in mirror.waiting() if object_id not in self.again_at]
        self.forget_failures()
        self.each(items, "mirror", mirror.copy)
        lasting = [object_id for object_id, is_outage in self.failed.items() if not is_outage]
        self.again_at |= dict.fromkeys(lasting, now + PAUSE_AFTER_FAILURE)
        done = len(items) - len(self.failed) - self.untried
        if items:
            self.say(f"{done} objects copied, {len(self.failed)} failed")
        return done
