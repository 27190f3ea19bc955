import time
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from payments.emails import outbox
from payments.management.base import OperatorCommand, at_least, rehearsal
from payments.models import Email


class Command(OperatorCommand):
    help = (
        "Send receipts, refund notices and news of failed bank debits, each once, to patients who have an e-mail"
        " address. What fails is tried again for three days. Does nothing without EMAIL_URL."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)  # type: ignore[arg-type]
        parser.add_argument(
            "--every", type=at_least(0, float), metavar="SECONDS", help="go on for ever, with this pause"
        )
        parser.add_argument("--failed", action="store_true", help="first take up those again that were given up")

    def handle(self, *args: Any, every: float | None, failed: bool, dry_run: bool, **options: Any) -> None:
        if not outbox.switched_on():
            self.say("EMAIL_URL is not set: no e-mail is sent.")
        if dry_run:
            self.rehearse(failed)
            return
        if failed:
            self.say(f"{Email.objects.revive()} e-mails taken up again")
        while True:
            sent, missed = self.round() if outbox.switched_on() else (0, 0)
            if every is None:
                break
            time.sleep(every)
        self.say(f"{sent} e-mails sent, {missed} failed")
        if missed:
            raise CommandError(f"{missed} e-mails could not be sent and stay waiting; payments_doctor says why.")

    def round(self) -> tuple[int, int]:
        """Until nothing is due any more; how many were sent, and how many tries failed."""
        outbox.queue()
        sent = missed = 0
        while any(counts := outbox.send_due()):
            sent, missed = sent + counts[0], missed + counts[1]
        return sent, missed

    def rehearse(self, failed: bool) -> None:
        """Name payments, never people."""
        with rehearsal(True):
            if failed:
                Email.objects.revive()
            outbox.queue()
            due = list(Email.objects.due().select_related("change__payment"))
        for email in due:
            self.say(f"{email.change.payment} {email.kind}")
        self.say(f"{len(due)} e-mails would be sent (dry run)")
