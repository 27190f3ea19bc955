"""What a check returns: a level, a sentence on what it saw, and a sentence on how to repair it."""

import datetime
from collections.abc import Callable
from enum import IntEnum
from typing import NamedTuple

from django.utils import timezone

from ..dashboard.charts import duration_text


class Level(IntEnum):
    """How bad a finding is; payments_doctor exits with the highest level found."""

    OK = 0
    WARNING = 1
    ERROR = 2


class Verdict(NamedTuple):
    """A check's result; `what` and `fix` are in the active language."""

    level: Level
    what: str
    fix: str = ""


class Finding(NamedTuple):
    """A verdict with the name of the check that gave it."""

    name: str
    level: Level
    what: str
    fix: str = ""


def age(since: datetime.datetime) -> str:
    """Return the time that has passed since `since`, as text."""
    return duration_text((timezone.now() - since).total_seconds())


Check = Callable[[], Verdict]


def ok(what: str) -> Verdict:
    return Verdict(Level.OK, what)


def warning(what: str, fix: str) -> Verdict:
    return Verdict(Level.WARNING, what, fix)


def error(what: str, fix: str) -> Verdict:
    return Verdict(Level.ERROR, what, fix)
