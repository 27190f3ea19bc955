import datetime
from collections.abc import Callable
from enum import IntEnum
from typing import NamedTuple

from django.utils import timezone

from ..dashboard.charts import duration_text


class Level(IntEnum):
    """The command's exit status is the worst one."""

    OK = 0
    WARNING = 1
    ERROR = 2


class Verdict(NamedTuple):
    """What a check saw, and what to do about it, in the active language."""

    level: Level
    what: str
    fix: str = ""


class Finding(NamedTuple):
    name: str
    level: Level
    what: str
    fix: str = ""


def age(since: datetime.datetime) -> str:
    return duration_text((timezone.now() - since).total_seconds())


Check = Callable[[], Verdict]


def ok(what: str) -> Verdict:
    return Verdict(Level.OK, what)


def warning(what: str, fix: str) -> Verdict:
    return Verdict(Level.WARNING, what, fix)


def error(what: str, fix: str) -> Verdict:
    return Verdict(Level.ERROR, what, fix)
