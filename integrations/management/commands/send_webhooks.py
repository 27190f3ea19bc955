from typing import Any

from django.core.management.base import CommandError, CommandParser

from integrations.models import WebhookEndpoint, WebhookMessage
from integrations.outgoing.dispatch import Dispatcher
from integrations.outgoing.outbox import TooOldError, tell_again
from payments.management.base import USAGE, OperatorCommand, at_least


class Command(OperatorCommand):
    help = (
        "Send the webhooks that are due to the clinic's other software. With --from, tell an endpoint again of all"
        " changes since a number; messages keep their ids, by which receivers recognize them."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--endpoint", type=at_least(1), metavar="ID", help="only this endpoint, for --from")
        parser.add_argument(
            "--from", type=at_least(1), dest="first", metavar="NUMBER", help="tell again from this number"
        )

    def handle(self, *args: Any, endpoint: int | None, first: int | None, dry_run: bool, **options: Any) -> None:
        if dry_run:
            self.say(f"{WebhookMessage.objects.due().count()} messages are due (dry run)")
            return
        if first is not None:
            self.tell_again(endpoint, first)
        dispatcher = Dispatcher()
        dispatcher.round()
        dispatcher.finish()
        self.say(f"{WebhookMessage.objects.waiting().count()} messages wait")

    def tell_again(self, endpoint: int | None, first: int) -> None:
        found = WebhookEndpoint.objects.filter(pk=endpoint or 0).first()
        if found is None:
            known = ", ".join(f"{each.pk} ({each})" for each in WebhookEndpoint.objects.all()) or "none"
            raise CommandError(f"--from needs --endpoint; there are: {known}.", returncode=USAGE)
        try:
            tell_again(found, first)
        except TooOldError as error:
            raise CommandError(f"Number {first} is deleted; the first one kept is {error.first}.") from error
