"""Import appointments from a CSV or an Excel file."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError, CommandParser
from tqdm import tqdm

from integrations.importing.rules import Plan
from integrations.importing.saving import import_file, preview
from integrations.importing.table import LARGEST
from integrations.importing.words import summary

MAY = "clinic_appointments.import_appointment"


class Command(BaseCommand):
    help = "Import appointments from a .csv or .xlsx file: all of it, or nothing if a row has a problem."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path)
        parser.add_argument("--user", required=True, help="user name of who imports; they need the right to import")
        parser.add_argument("--dry-run", action="store_true", help="say what would happen, and save nothing")
        parser.add_argument("--allow-overlaps", action="store_true", help="book also at times that are taken")

    def handle(self, *args: Any, **options: Any) -> None:
        path, actor = options["file"], get_user_model().objects.filter(username=options["user"], is_active=True).first()
        if actor is None or not actor.is_staff or not actor.has_perm(MAY):
            raise CommandError("This user doesn't exist or may not import appointments.")
        try:
            with path.open("rb") as file:
                content = file.read(LARGEST + 1)
        except OSError as error:
            raise CommandError(f"The file can't be read: {error.strerror}.") from error
        given = {"overlaps": options["allow_overlaps"], "progress": self.progress}
        plan = preview(content, **given) if options["dry_run"] else import_file(content, path.name, actor, **given)
        for label, value in plan.table.detected:
            self.stdout.write(f"{label}: {value}")
        self._report(plan, dry_run=options["dry_run"])

    def progress(self, items: list[Any], what: str) -> Iterable[Any]:
        """Show a progress bar, if the command's messages go to a terminal."""
        return tqdm(items, what, unit="row", leave=False, file=self.stderr, disable=not self.stderr.isatty())

    def _report(self, plan: Plan, *, dry_run: bool) -> None:
        """Write each problem on a line and fail, or say what was done."""
        for problem in plan.problems:
            self.stderr.write(str(problem))
        if plan.problems:
            raise CommandError(f"{len(plan.problems)} problems: nothing was imported.")
        self.stdout.write(summary(plan, done=not dry_run))
