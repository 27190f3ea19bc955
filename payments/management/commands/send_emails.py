from typing import Any

from django.core.management.base import CommandError, CommandParser

from payments.emails import outbox, requests
from payments.management.base import OperatorCommand, rehearsal
from payments.models import Email


class Command(OperatorCommand):
    help = (
        "Send receipts, refund notices, notices of failed bank debits, pay links and reminders, each once, to patients"
        " who have an e-mail address. A failed e-mail is retried for three days. Does nothing without EMAIL_URL."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--failed", action="store_true", help="first queue the e-mails again that were given up")

    def handle(self, *args: Any, failed: bool, dry_run: bool, **options: Any) -> None:
        if not outbox.switched_on():
            self.say("EMAIL_URL is not set: no e-mail is sent.")
        if dry_run:
            self.print_due(failed)
            return
        if failed:
            self.say(f"{Email.objects.revive()} e-mails queued again")
        sent, missed = self.send_all_due() if outbox.switched_on() else (0, 0)
        self.say(f"{sent} e-mails sent, {missed} failed")
        if missed:
            raise CommandError(f"{missed} e-mails could not be sent and stay waiting; payments_doctor says why.")

    def send_all_due(self) -> tuple[int, int]:
        """Queue e-mails about new changes, and send until none is due. Return (e-mails sent, failed attempts)."""
        outbox.queue()
        requests.queue_reminders()
        sent = missed = 0
        while any(counts := outbox.send_due()):
            sent, missed = sent + counts.sent, missed + counts.failed
        return sent, missed

    def print_due(self, failed: bool) -> None:
        """Print which e-mails would be sent; with `failed`, also e-mails that were given up.

        Lines name payments instead of persons, because output ends up in logs.
        """
        with rehearsal(True):
            if failed:
                Email.objects.revive()
            outbox.queue()
            requests.queue_reminders()
            due = list(Email.objects.due().select_related("payment"))
        for email in due:
            self.say(f"{email.payment} {email.kind}")
        self.say(f"{len(due)} e-mails would be sent (dry run)")
