import datetime
import time
from functools import partial
from operator import itemgetter
from typing import Any

from django.core.management.base import CommandParser
from django.db.models import Max

from payments.gateway import webhooks
from payments.gateway.background import writer
from payments.gateway.reconcile import ask_stripe
from payments.gateway.retrieve import events_since
from payments.ledger import Source
from payments.management.base import OperatorCommand, parse_time, rehearsal, require_understood
from payments.models import EventReceipt, Payment

LISTED_SECONDS = datetime.timedelta(days=30).total_seconds()  # how long Stripe lists an event
# Stripe retries a delivery for three days, so events may be missing from before the last one received.
RETRY_SECONDS = datetime.timedelta(days=3).total_seconds()
OVERLAP_SECONDS = 60 * 60  # how far before the last event received to start, because events arrive in any order


class Command(OperatorCommand):
    help = (
        "Fetch the events that never reached this site from Stripe's Events API and apply them, oldest first."
        " Starts three days ago, or at the last event received if that is earlier. Stripe lists no events older than"
        " 30 days: to go back further, each payment is compared with Stripe's objects."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--since", type=parse_time, help="start here, e.g. 2026-05-31 or '2026-05-31 14:00'")

    def handle(self, *args: Any, since: datetime.datetime | None, dry_run: bool, **options: Any) -> None:
        start = since.timestamp() if since else min(time.time() - RETRY_SECONDS, self.last_event() - OVERLAP_SECONDS)
        horizon = time.time() - LISTED_SECONDS
        events = events_since(int(max(start, horizon)))
        moved = self.apply(events, dry_run)
        if start < horizon:
            self.say("Stripe keeps events for 30 days: comparing every payment with Stripe's objects instead.")
            moved += self.compare(dry_run)
        self.say(
            f"{len(events)} events, {moved} payments moved" + (" (dry run: nothing was changed)" if dry_run else "")
        )
        self.finish()

    def last_event(self) -> float:
        """Return when Stripe created the newest event that we received, in Unix seconds; 0 if we received none."""
        newest = EventReceipt.objects.aggregate(newest=Max("stripe_created"))["newest"]
        return float(newest or 0)

    def apply(self, events: list[dict[str, Any]], dry_run: bool) -> int:
        """Handle these Stripe events as webhooks do, and return how many changed a payment's status.

        With `dry_run`, roll back the changes.
        """
        moved = 0

        def job(event: dict[str, Any]) -> None:
            nonlocal moved
            receipt = webhooks.receive(event, Source.CATCH_UP)
            change = receipt.change
            if change and change.moved:
                self.say(f"{change.payment.public_id} {change} ({event['type']} {event['id']})")
                moved += 1
            if receipt.deliveries == 1:
                require_understood(receipt)

        with rehearsal(dry_run):
            self.each(events, "catch up", job, name=itemgetter("id"))
        if not dry_run:
            writer.store()
        return moved

    def compare(self, dry_run: bool) -> int:
        """Fetch from Stripe the objects of every payment that a patient ever started, and record what they say.

        Return how many payments changed their status. With `dry_run`, roll back the changes.
        """
        moved = 0

        def job(payment: Payment) -> None:
            nonlocal moved
            ask = partial(ask_stripe, payment, Source.CATCH_UP)
            moved += self.moves(payment, ask, "asked Stripe", dry_run=dry_run)

        payments = Payment.objects.exclude(facts=None).select_related("appointment")
        self.each(list(payments), "compare", job)
        return moved
