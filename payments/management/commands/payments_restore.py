from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser

from payments import backups
from payments.management.base import USAGE, OperatorCommand


class Command(OperatorCommand):
    help = (
        "Replace the database by a copy that payments_backup made. Stop the site first. Then run migrate and"
        " payments_doctor --after-restore, as docs/operations.md explains."
    )
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("copy", type=Path, metavar="FILE", help="the copy")
        parser.add_argument("--yes", action="store_true", help="don't ask whether the site is stopped")

    def handle(self, *args: Any, copy: Path, yes: bool, **options: Any) -> None:
        if not yes and not self.agreed(f"Replace the whole database by {copy.name}? Is the site stopped?"):
            raise CommandError("Nothing was changed.", returncode=USAGE)
        try:
            backups.restore(copy)
        except backups.BackupError as error:
            raise CommandError(f"Nothing was restored. {error}") from error
        self.say("Restored. Now run migrate, then payments_doctor --after-restore.")
