"""The process and the machine: configuration, versions, disk."""

import os
import re
import shutil
from importlib.metadata import version
from pathlib import Path

from django.conf import settings
from django.core.checks import ERROR
from django.template.defaultfilters import filesizeformat
from django.utils.translation import gettext as _

from .. import checks
from .finding import Verdict, error, ok, warning

# The oldest versions without a hole or a fault that this site would suffer from.
FLOORS = {
    "django": "5.2.16",  # CVE-2026-48588
    "channels": "4.3.2",
    "daphne": "4.2.2",  # CVE-2026-44545, CVE-2026-44546
    "autobahn": "26.10.1",  # CVE-2026-77528
    "twisted": "24.7",  # CVE-2024-41671
    "dj-stripe": "2.11",
    "stripe": "15.0.1",
}
LITTLE, TOO_LITTLE = 1_000_000_000, 100_000_000  # free bytes
FEW_FILES = 1000  # free inodes


def configuration() -> Verdict:
    found = checks.problems()
    if not found:
        return ok(_("The configuration is sound."))
    what = " ".join(str(message.msg) for message in found)
    fix = " ".join(str(message.hint) for message in found if message.hint)
    return error(what, fix) if any(message.level >= ERROR for message in found) else warning(what, fix)


def versions() -> Verdict:
    installed = {name: version(name) for name in FLOORS}
    old = {name: found for name, found in installed.items() if _numbers(found) < _numbers(FLOORS[name])}
    if not old:
        return ok(", ".join(f"{name} {found}" for name, found in installed.items()))
    said = ", ".join(f"{name} {found} < {FLOORS[name]}" for name, found in old.items())
    return error(
        _("Older than is safe: %(versions)s.") % {"versions": said},
        _("Install what requirements.lock names: uv pip sync --require-hashes requirements.lock"),
    )


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", text)[:3])


def disk() -> Verdict:
    """Of the database's file, or of the site's folder where the database is a server."""
    database = Path(settings.DATABASES["default"]["NAME"] or ".")
    folder = database.parent if checks.on_sqlite() and database.parent.is_dir() else settings.BASE_DIR
    free = shutil.disk_usage(folder).free
    inodes = os.statvfs(folder)
    what = _("Free disk space: %(free)s.") % {"free": filesizeformat(free)}
    if free < TOO_LITTLE or (inodes.f_files and inodes.f_favail < FEW_FILES):
        what = _("The disk is full, or nearly: %(free)s left.") % {"free": filesizeformat(free)}
        return error(what, _("Make room: on a full disk every webhook fails, and Stripe sends it again later."))
    if free < LITTLE:
        return warning(what, _("Make room before webhooks fail; `manage.py prune` deletes what is no longer needed."))
    return ok(what)
