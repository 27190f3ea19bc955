import datetime
import time
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError
from django.db.models import Max

from payments.gateway import webhooks
from payments.gateway.client import StripeUnavailableError
from payments.gateway.lookup import events_since
from payments.gateway.reconcile import ask_stripe
from payments.ledger import Source
from payments.management.base import OperatorCommand, moment, rehearsal
from payments.models import EventReceipt, Payment

KEPT = datetime.timedelta(days=30).total_seconds()  # how long Stripe lists events
RETRIED = datetime.timedelta(days=3).total_seconds()  # how long Stripe tries again; gaps lie before later events, too
OVERLAP = 60 * 60  # seconds asked again before the last event that reached us: events arrive in any order


class Command(OperatorCommand):
    help = (
        "Pull the events that never reached us from Stripe's Events API and apply them, oldest first."
        " Starts three days back, or at the last event received when that is earlier. Older than 30 days, Stripe keeps"
        " no events: then each payment is compared with Stripe's own objects."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)  # type: ignore[arg-type]
        parser.add_argument("--since", type=moment, help="start here instead, such as 2026-05-31 or '2026-05-31 14:00'")

    def handle(self, *args: Any, since: datetime.datetime | None, dry_run: bool, **options: Any) -> None:
        start = since.timestamp() if since else min(time.time() - RETRIED, self.last_event() - OVERLAP)
        horizon = time.time() - KEPT
        try:
            events = events_since(int(max(start, horizon)))
            moved = self.apply(events, dry_run)
            if start < horizon:
                self.say("Stripe keeps events for 30 days: comparing every payment with Stripe's objects instead.")
                moved += self.compare(dry_run)
        except StripeUnavailableError as error:
            raise CommandError(
                f"Stripe doesn't answer ({error}). What was applied stays; run it again later."
            ) from error
        self.say(
            f"{len(events)} events, {moved} payments moved" + (" (dry run: nothing was changed)" if dry_run else "")
        )

    def last_event(self) -> float:
        newest = EventReceipt.objects.aggregate(newest=Max("stripe_created"))["newest"]
        return float(newest or 0)

    def apply(self, events: list[dict[str, Any]], dry_run: bool) -> int:
        moved = 0
        with rehearsal(dry_run):
            for event in self.progress(events, "catch up"):
                receipt = webhooks.receive(event, Source.CATCH_UP)
                change = receipt.change
                if change and change.moved:
                    self.say(f"{change.payment.public_id} {change} ({event['type']} {event['id']})")
                    moved += 1
        return moved

    def compare(self, dry_run: bool) -> int:
        moved = 0
        for payment in self.progress(Payment.objects.exclude(facts=None).select_related("appointment"), "compare"):
            before = payment.status
            with rehearsal(dry_run):
                ask_stripe(payment, Source.CATCH_UP)
                payment.refresh_from_db()
            moved += self.moved(payment, before, "asked Stripe")
        return moved
