"""The clinic's days: one begins at midnight in its time zone, and lasts 23 or 25 hours when clocks change."""

import datetime

from django.utils import timezone

ONE_DAY = datetime.timedelta(days=1)


def begin_of(day: datetime.date) -> datetime.datetime:
    """Return the moment at which the day begins. The day before ends at this moment, which isn't a part of it."""
    return timezone.make_aware(datetime.datetime.combine(day, datetime.time.min))


def day_of(at: float) -> datetime.date:
    """Return the clinic's day on which the Unix time `at` falls."""
    return timezone.localdate(datetime.datetime.fromtimestamp(at, datetime.UTC))
