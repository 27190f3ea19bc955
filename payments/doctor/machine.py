"""Checks of the configuration, of installed versions and of free disk space."""

import datetime
import os
import re
import shutil
from importlib.metadata import version
from pathlib import Path

from django.conf import settings
from django.core.checks import ERROR
from django.template.defaultfilters import filesizeformat
from django.utils import timezone
from django.utils.translation import gettext as _

from .. import backups, checks
from ..conf import app_settings
from .finding import Verdict, age, error, ok, warning

# Older releases have a vulnerability or a bug that affects this site.
MINIMUM_VERSIONS = {
    "django": "5.2.16",  # CVE-2026-48588
    "channels": "4.3.2",
    "daphne": "4.2.2",  # CVE-2026-44545, CVE-2026-44546
    "autobahn": "26.10.1",  # CVE-2026-77528
    "twisted": "24.7",  # CVE-2024-41671
    "dj-stripe": "2.11",
    "stripe": "15.0.1",
}
LOW_SPACE, NO_SPACE = 1_000_000_000, 100_000_000  # free bytes
LOW_INODES = 1000
BACKUP_EVERY = datetime.timedelta(hours=26)  # a day, and time for a timer that is late


def configuration() -> Verdict:
    found = checks.problems()
    if not found:
        return ok(_("The configuration has no known problems."))
    what = " ".join(str(message.msg) for message in found)
    fix = " ".join(str(message.hint) for message in found if message.hint)
    return error(what, fix) if any(message.level >= ERROR for message in found) else warning(what, fix)


def versions() -> Verdict:
    installed = {name: version(name) for name in MINIMUM_VERSIONS}
    old = {name: found for name, found in installed.items() if _numbers(found) < _numbers(MINIMUM_VERSIONS[name])}
    if not old:
        return ok(", ".join(f"{name} {found}" for name, found in installed.items()))
    said = ", ".join(f"{name} {found} < {MINIMUM_VERSIONS[name]}" for name, found in old.items())
    return error(
        _("These packages are too old to be safe: %(versions)s.") % {"versions": said},
        _("Install the versions in requirements.lock: uv pip sync --require-hashes requirements.lock"),
    )


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", text)[:3])


def disk() -> Verdict:
    """Check the free space and inodes of the disk that holds the SQLite file or, with PostgreSQL, the site's folder."""
    database = Path(settings.DATABASES["default"]["NAME"] or ".")
    folder = database.parent if checks.on_sqlite() and database.parent.is_dir() else Path.cwd()
    free = shutil.disk_usage(folder).free
    inodes = os.statvfs(folder)
    what = _("Free disk space: %(free)s.") % {"free": filesizeformat(free)}
    if free < NO_SPACE or (inodes.f_files and inodes.f_favail < LOW_INODES):
        what = _("The disk is full or almost full: %(free)s left.") % {"free": filesizeformat(free)}
        return error(what, _("Free disk space. On a full disk every webhook fails, and Stripe sends it again later."))
    if free < LOW_SPACE:
        return warning(
            what, _("Free disk space before webhooks fail; `manage.py prune` deletes data that is no longer needed.")
        )
    return ok(what)


def backup() -> Verdict:
    """Check that `payments_backup` has made a copy within BACKUP_EVERY, if BACKUP_FOLDER is set."""
    if not app_settings.CLINIC_BACKUP_FOLDER:
        return ok(_("BACKUP_FOLDER is empty: the backups are made elsewhere."))
    fix = _("Run `manage.py payments_backup`, and look why it did not run: systemctl status payments-backup.timer")
    copies = backups.copies(Path(app_settings.CLINIC_BACKUP_FOLDER))
    if not copies:
        return error(_("There is no backup in %(folder)s.") % {"folder": app_settings.CLINIC_BACKUP_FOLDER}, fix)
    made = datetime.datetime.fromtimestamp(copies[-1].stat().st_mtime, datetime.UTC)
    what = _("The last backup was made %(age)s ago.") % {"age": age(made)}
    return ok(what) if timezone.now() - made < BACKUP_EVERY else error(what, fix)
