import uuid
from functools import partial
from typing import Any

from django.core.management.base import CommandError, CommandParser

from payments import ledger
from payments.gateway.retrieve import everything_at_stripe
from payments.ledger import Cause, Source
from payments.management.base import USAGE, OperatorCommand, rehearsal
from payments.models import Cursor, Payment


class Command(OperatorCommand):
    help = (
        "Compare this site's payments with Stripe's objects and print the differences."
        " --fix applies what Stripe says. Exit status 1 while there are differences that were not fixed."
        " A run that was interrupted goes on where it was."
    )
    differed = 0

    def add_arguments(self, parser: CommandParser) -> None:
        every = "public ids; by default every payment that was ever started"
        parser.add_argument("payments", nargs="*", metavar="PAYMENT", help=every)
        parser.add_argument("--fix", action="store_true", help="apply what Stripe says")
        parser.add_argument("--restart", action="store_true", help="begin with the first payment, not where it was")

    def handle(self, *args: Any, payments: list[str], fix: bool, restart: bool, **options: Any) -> None:
        if payments:
            chosen = Payment.objects.filter(public_id__in=self.existing(payments)).order_by("pk")
            self.each(list(chosen), "reconcile", partial(self.compare, fix=fix))
            compared = len(chosen)
        else:
            run = "reconcile --fix" if fix else "reconcile"
            compared = self.compare_all(fix, Cursor.objects.resume(run, restart=restart))
        self.say(f"{compared} compared, {self.differed} differed" + ", fixed" * (fix and self.differed > 0))
        self.finish()
        if self.differed and not fix:
            raise CommandError("There are differences. --fix applies what Stripe says.")

    def compare_all(self, fix: bool, cursor: Cursor) -> int:
        """Compare with Stripe every payment that somebody started to pay; return how many were compared.

        The number includes payments that an interrupted run compared; `cursor` says how far that run came. The cursor
        moves with each payment and is deleted after the last one.
        """
        all_keys = list(Payment.objects.exclude(facts=None).order_by("pk").values_list("pk", flat=True))
        keys = [key for key in all_keys if key > cursor.position]
        done = len(all_keys) - len(keys)
        if done:
            self.say(f"Going on after {done} of {len(all_keys)} payments; --restart begins with the first.")
            self.differed = cursor.counts["differed"]
            self.failed = dict.fromkeys(cursor.counts["failed"], False)

        def job(key: int) -> None:
            self.compare(Payment.objects.select_related("appointment").get(pk=key), fix)
            cursor.position, cursor.counts = key, {"differed": self.differed, "failed": list(self.failed)}
            cursor.save()

        self.each(keys, "reconcile", job, name=_public_id, done=done)
        if cursor.pk and not self.untried:
            cursor.delete()
        return len(all_keys) - self.untried

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
        """Update the payment from Stripe and, if it differed, print how. Unless `fix` is true, roll the update back.

        Raises StripeUnavailableError and StripeRefusedError.
        """
        reading = everything_at_stripe(payment)
        payment.refresh_from_db()  # a webhook may have changed it in the meantime
        before = payment.standing
        with rehearsal(not fix):
            if reading.facts:
                ledger.record(reading.facts, Cause(Source.RECONCILE))
            ledger.rederive(payment, Cause(Source.RECONCILE))
            payment.refresh_from_db()
        if payment.standing != before:
            self.differed += 1
            ours, theirs = f"{before.status} {before.amounts.received}", f"{payment.status} {payment.amount_received}"
            self.say(
                f"{payment.public_id} ours: {ours} refunded {before.amounts.refunded}; Stripe: {theirs} refunded"
                f" {payment.amount_refunded} {payment.currency}"
            )
        reading.settle()


def _public_id(key: int) -> str:
    return str(Payment.objects.get(pk=key))


def _uuid(text: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(text)
    except ValueError:
        return None
