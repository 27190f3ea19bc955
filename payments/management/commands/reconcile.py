import uuid
from functools import partial
from typing import Any

from django.core.management.base import CommandError, CommandParser

from payments import ledger
from payments.gateway.retrieve import everything_at_stripe
from payments.ledger import Cause, Source
from payments.management.base import USAGE, OperatorCommand, rehearsal
from payments.models import Payment


class Command(OperatorCommand):
    help = (
        "Compare this site's payments with Stripe's objects and print the differences."
        " --fix applies what Stripe says. Exit status 1 while there are differences that were not fixed."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        every = "public ids; by default every payment that was ever started"
        parser.add_argument("payments", nargs="*", metavar="PAYMENT", help=every)
        parser.add_argument("--fix", action="store_true", help="apply what Stripe says")

    def handle(self, *args: Any, payments: list[str], fix: bool, **options: Any) -> None:
        chosen = Payment.objects.exclude(facts=None).select_related("appointment").order_by("pk")
        if payments:
            chosen = chosen.filter(public_id__in=self.existing(payments))
        self.differing = 0
        self.each(list(chosen), "reconcile", partial(self.compare, fix=fix))
        self.say(f"{chosen.count()} compared, {self.differing} differed" + ", fixed" * (fix and self.differing > 0))
        self.finish()
        if self.differing and not fix:
            raise CommandError("There are differences. --fix applies what Stripe says.")

    def existing(self, payments: list[str]) -> list[uuid.UUID]:
        """Convert public ids of payments to UUIDs. Raises CommandError if an id belongs to no payment."""
        asked = {text: _uuid(text) for text in payments}
        found = set(
            Payment.objects.filter(public_id__in=filter(None, asked.values())).values_list("public_id", flat=True)
        )
        if unknown := [text for text, public_id in asked.items() if public_id not in found]:
            raise CommandError(
                f"No payment {', '.join(unknown)}. Logs and Stripe's metadata name it.", returncode=USAGE
            )
        return list(found)

    def compare(self, payment: Payment, fix: bool) -> None:
        """Update the payment from Stripe, and roll this back unless `fix` is true; if the payment differed, print how.

        Raises StripeUnavailableError and StripeRefusedError.
        """
        reading = everything_at_stripe(payment)
        payment.refresh_from_db()  # it may have changed since the list was read
        before = payment.standing
        with rehearsal(not fix):
            if reading.facts:
                ledger.record(reading.facts, Cause(Source.RECONCILE))
            payment.refresh_from_db()
        if payment.standing != before:
            self.differing += 1
            ours, theirs = f"{before.status} {before.amounts.received}", f"{payment.status} {payment.amount_received}"
            self.say(
                f"{payment.public_id} ours: {ours} refunded {before.amounts.refunded}; Stripe: {theirs} refunded"
                f" {payment.amount_refunded} {payment.currency}"
            )
        reading.settle()


def _uuid(text: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(text)
    except ValueError:
        return None
