"""The clinic's days: one begins at midnight in its time zone, and lasts 23 or 25 hours when clocks change."""

import datetime
from collections.abc import Sequence

from django.db.models import Case, IntegerField, Value, When
from django.utils import timezone

ONE_DAY = datetime.timedelta(days=1)


def begin_of(day: datetime.date) -> datetime.datetime:
    """Return the moment at which the day begins. The day before ends at this moment, which isn't a part of it."""
    return timezone.make_aware(datetime.datetime.combine(day, datetime.time.min))


def day_of(at: float) -> datetime.date:
    """Return the clinic's day on which the Unix time `at` falls."""
    return timezone.localdate(datetime.datetime.fromtimestamp(at, datetime.UTC))


def midnights(dates: Sequence[datetime.date]) -> list[datetime.datetime]:
    """Return the moments at which the consecutive `dates` begin, followed by the one at which the last date ends."""
    return [begin_of(day) for day in (*dates, dates[-1] + ONE_DAY)]


def day_number(name: str, edges: Sequence[datetime.datetime | float]) -> Case:
    """Return an SQL expression for the number of the day, counted from 0, on which the field `name` falls.

    `edges` are the days' midnights, as `midnights` returns them, or in Unix seconds if the field is. Django's TruncDate
    is not used because it is slow on SQLite.
    """
    days = [When(**{f"{name}__lt": end}, then=Value(number)) for number, end in enumerate(edges[1:])]
    return Case(*days, output_field=IntegerField())
