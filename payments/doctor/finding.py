"""The result types of health checks: a level, what the check saw, and how to repair the fault."""

import datetime
from collections.abc import Callable
from enum import IntEnum
from typing import NamedTuple

from django.utils import timezone

from ..dashboard.charts import duration_text

MAX_NAMED = 5  # faulty rows that a finding lists


class Level(IntEnum):
    """How bad a check's result is. `manage.py payments_doctor` exits with the highest level among its results."""

    OK = 0
    WARNING = 1
    ERROR = 2


class Verdict(NamedTuple):
    """A check's result: its level, what the check saw, and how to repair it; both texts are in the active language."""

    level: Level
    what: str
    fix: str = ""


class Finding(NamedTuple):
    """A verdict together with the name of the check that returned it."""

    name: str
    level: Level
    what: str
    fix: str = ""


def age(since: datetime.datetime) -> str:
    """Return how long ago `since` was, as text in the active language, such as "3 hr"."""
    return duration_text((timezone.now() - since).total_seconds())


Check = Callable[[], Verdict]


def ok(what: str) -> Verdict:
    return Verdict(Level.OK, what)


def warning(what: str, fix: str) -> Verdict:
    return Verdict(Level.WARNING, what, fix)


def error(what: str, fix: str) -> Verdict:
    return Verdict(Level.ERROR, what, fix)
