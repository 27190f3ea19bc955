import time
from typing import Any

from payments.gateway import mirror, payouts
from payments.gateway.background import writer
from payments.gateway.client import StripeRefusedError, StripeUnavailableError
from payments.management.base import OperatorCommand
from payments.models import EventReceipt

PAUSE_AFTER_FAILURE = 600  # seconds
CATCH_UP_EVERY = 3600  # seconds between two looks at Stripe's list of payouts


class Command(OperatorCommand):
    help = (
        "Store events in dj-stripe's tables if the web processes haven't, and update dj-stripe's copies of Checkout"
        " Sessions, PaymentIntents, charges, refunds and disputes, and of payouts with what they contain. Also look for"
        " payouts of which no event came; `manage.py work` does this part once an hour. No payment waits for it."
    )

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.again_at: dict[str, float] = {}  # when, on the monotonic clock, an object that failed is tried again
        self.catch_up_at = 0.0  # when, on the monotonic clock, Stripe is asked for its payouts

    def handle(self, *args: Any, dry_run: bool, **options: Any) -> None:
        if dry_run:
            events = EventReceipt.objects.unstored().count()
            self.say(f"{mirror.waiting().count()} objects wait to be copied, {events} events to be stored (dry run)")
            return
        writer.store()
        self.copy_waiting()
        if not any(self.failed.values()) and time.monotonic() >= self.catch_up_at:
            self.catch_up()
            self.catch_up_at = time.monotonic() + CATCH_UP_EVERY
        self.finish()

    def copy_waiting(self) -> None:
        """Copy Stripe objects that had new events into dj-stripe's tables.

        An object that can't be copied isn't tried again before PAUSE_AFTER_FAILURE, so that not every round requests
        the object from Stripe.
        """
        now = time.monotonic()
        self.again_at = {object_id: at for object_id, at in self.again_at.items() if at > now}
        items = [object_id for object_id in mirror.waiting() if object_id not in self.again_at]
        self.each(items, "mirror", mirror.copy)
        lasting = [object_id for object_id, is_outage in self.failed.items() if not is_outage]
        self.again_at |= dict.fromkeys(lasting, now + PAUSE_AFTER_FAILURE)
        if items:
            done = len(items) - len(self.failed) - self.untried
            self.say(f"{done} objects copied, {len(self.failed)} failed")

    def catch_up(self) -> None:
        """Copy the payouts at Stripe whose copies are missing or outdated, oldest first.

        An interrupted run is continued by the next, because what was copied is up to date.
        """
        try:
            ids, until = payouts.outdated_payouts()
        except (StripeUnavailableError, StripeRefusedError) as error:  # the objects that wait are still to be copied
            self.report("payouts", "list of payouts", error)
            return
        self.each([payout_id for payout_id in ids if payout_id not in self.failed], "payouts", mirror.copy)
        done = len(set(ids) - self.failed.keys()) - self.untried
        if ids:
            self.say(f"{done} payouts copied")
        if done == len(ids):
            payouts.caught_up(until)
