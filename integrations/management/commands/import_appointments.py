from pathlib import Path
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import CommandError, CommandParser

from integrations.importing.rules import Plan
from integrations.importing.saving import MAY_IMPORT, import_file, preview
from integrations.importing.table import LARGEST
from integrations.importing.words import summary
from payments.management.base import OperatorCommand


class Command(OperatorCommand):
    help = "Import appointments from a .csv or .xlsx file: all of it, or nothing if a row has a problem."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("file", type=Path)
        parser.add_argument("--user", required=True, help="user name of who imports; they need the right to import")
        parser.add_argument("--allow-overlaps", action="store_true", help="book also at times that are taken")

    def handle(self, *args: Any, file: Path, user: str, allow_overlaps: bool, dry_run: bool, **options: Any) -> None:
        actor = get_user_model().objects.filter(username=user, is_active=True).first()
        if actor is None or not actor.is_staff or not actor.has_perm(MAY_IMPORT):
            raise CommandError("This user doesn't exist or may not import appointments.")
        try:
            with file.open("rb") as opened:
                content = opened.read(LARGEST + 1)
        except OSError as error:
            raise CommandError(f"The file can't be read: {error.strerror}.") from error
        if dry_run:
            plan = preview(content, overlaps=allow_overlaps, progress=self.progress)
        else:
            plan = import_file(content, file.name, actor, overlaps=allow_overlaps, progress=self.progress)
        self.tell(plan, dry_run=dry_run)

    def tell(self, plan: Plan, *, dry_run: bool) -> None:
        """Write the detected formats, then each problem or what was done. Raises CommandError if there is a problem."""
        for label, value in plan.table.detected:
            self.say(f"{label}: {value}")
        for problem in plan.problems:
            self.stderr.write(str(problem))
        if plan.problems:
            raise CommandError(f"{len(plan.problems)} problems: nothing was imported.")
        self.say(summary(plan, done=not dry_run))
