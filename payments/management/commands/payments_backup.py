from argparse import ArgumentTypeError
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser, no_translations
from django.template.defaultfilters import filesizeformat

from payments import backups
from payments.conf import app_settings
from payments.management.base import USAGE, OperatorCommand, at_least


def folder(text: str) -> Path:
    if not text or not (path := Path(text)).is_dir():
        raise ArgumentTypeError(f"{text!r} is no folder")
    return path


class Command(OperatorCommand):
    help = "Copy the database into a new file in BACKUP_FOLDER, and delete all but the newest copies there."
    requires_system_checks = []  # a site with a wrong setting needs its backup too

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--folder", type=folder, help="put it there instead of into BACKUP_FOLDER")
        parser.add_argument("--keep", type=at_least(1), default=30, help="how many copies stay (30)")

    @no_translations
    def handle(self, *args: Any, keep: int, **options: Any) -> None:
        target = options["folder"] or (
            Path(app_settings.CLINIC_BACKUP_FOLDER) if app_settings.CLINIC_BACKUP_FOLDER else None
        )
        if target is None or not target.is_dir():
            raise CommandError("Set BACKUP_FOLDER to a folder that exists, or give one as --folder.", returncode=USAGE)
        try:
            copy = backups.make(target)
        except backups.BackupError as error:
            raise CommandError(f"No backup was made. {error}") from error
        for old in backups.copies(target)[:-keep]:
            old.unlink()
        self.say(f"{copy} ({filesizeformat(copy.stat().st_size)})")
