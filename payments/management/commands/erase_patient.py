from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import CommandError, CommandParser

from payments import erasure
from payments.erasure import NotErasableError
from payments.management.base import USAGE, OperatorCommand, rehearsal


class Command(OperatorCommand):
    help = (
        "Erase a patient's name, e-mail address, login, services, notes and the payer's details from Stripe. Amounts,"
        " statuses, times and Stripe's ids stay. Without --yes, only print what would be erased."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("user", help="the patient's user name")
        parser.add_argument("--yes", action="store_true", help="erase; this cannot be undone")

    def handle(self, *args: Any, user: str, yes: bool, dry_run: bool, **options: Any) -> None:
        person = get_user_model().objects.filter(username=user).first()
        if person is None:
            raise CommandError(
                f"Nobody has the user name {user!r}. The admin lists them under Users.", returncode=USAGE
            )
        really = yes and not dry_run
        try:
            with rehearsal(not really):
                done = erasure.erase(person)
        except NotErasableError as error:
            raise CommandError(f"{user} {error} Nothing was changed.") from error
        for what, count in done.items():
            self.say(f"{count:6} {what}")
        if really:
            self.say(f"Done: the account is now erased-{person.pk}.")
            self.say("Stripe keeps its own records: redact them in its Dashboard.")
        else:
            self.say(f"Nothing was changed. To do it: erase_patient {user} --yes")
