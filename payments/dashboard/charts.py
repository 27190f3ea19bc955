"""Computes the positions of the bars and dots in the dashboard's charts, which the templates draw.

The templates are payments/_bars.html and payments/_ranges.html. Horizontal positions are percentages and vertical ones
are pixels, so that a chart fits any width while its text keeps the page's font size.
"""

import datetime
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from babel.units import format_unit
from django.utils.translation import get_language, to_locale

from .figures import Series
from .latency import Leg

HEIGHT = 180  # pixels from the baseline to the top of the vertical axis
HEADROOM = 18  # pixels above the axis, for the total of the highest bar
FILLED = 0.7  # share of a day's width that its bar takes
ROW = 52  # pixels of height for one leg
ROUND = (1, 2, 5)
TICKS = (0.001, 0.01, 0.1, 1, 10, 60, 600, 3600, 86400, 864000)  # seconds
UNITS = ((1, "millisecond", 0.001), (60, "second", 1), (3600, "minute", 60), (172800, "hour", 3600))


@dataclass(frozen=True, slots=True)
class Segment:
    """A coloured part of a day's bar, which shows the count of one series, such as paid payments.

    `y` (its top) and `height` are in pixels.
    """

    name: str
    label: str
    count: int
    y: float
    height: float


@dataclass(frozen=True, slots=True)
class Bar:
    """One day's bar, with its total above and its date below.

    `x` (the left edge), `middle` and `width` are percentages as text; `top`, where the total stands, is in pixels.
    """

    day: datetime.date
    month: bool  # whether the month's name stands below the bar
    shown: bool  # whether the day's number stands below the bar
    x: str
    middle: str
    width: str
    top: float
    total: int
    segments: list[Segment]


class Bars:
    """A stacked bar chart: one bar for each day, in which the counts of several series stand on top of each other."""

    def __init__(self, days: Sequence[datetime.date], series: Sequence[Series]) -> None:
        self.series = [one for one in series if any(one.counts)]
        totals = [sum(counts) for counts in zip(*(one.counts for one in series), strict=True)]
        self.total = sum(totals)
        self.rows = [(day, [one.counts[number] for one in series]) for number, day in enumerate(days)]
        self.step = round_step(max(totals))
        self.most = self.step * max(1, math.ceil(max(totals) / self.step))
        self.baseline = HEADROOM + HEIGHT
        self.height = self.baseline + 40
        self.ticks = [(count, self.y(count)) for count in range(0, self.most + 1, self.step)]
        self.bars = [self.bar(number, day, totals[number], days) for number, day in enumerate(days)]

    def y(self, count: int) -> float:
        """Return the vertical position of `count` on the axis, in pixels from the top of the chart."""
        return float(self.baseline - HEIGHT * count / self.most)

    def bar(self, number: int, day: datetime.date, total: int, days: Sequence[datetime.date]) -> Bar:
        """Return the bar of `day`, which is `days[number]`; `total` is the sum of all series' counts on that day."""
        room = 100 / len(days)
        first = number == 0 and days[min(2, len(days) - 1)].day > 2
        tops = list(accumulate(one.counts[number] for one in self.series))
        return Bar(
            day=day,
            month=first or day.day == 1,
            shown=len(days) <= 14 or (len(days) - 1 - number) % 3 == 0,
            x=f"{room * (number + (1 - FILLED) / 2):.2f}%",
            middle=f"{room * (number + 0.5):.2f}%",
            width=f"{room * FILLED:.2f}%",
            top=self.y(total) - 5,
            total=total,
            segments=[
                Segment(one.name, one.label, one.counts[number], self.y(top), HEIGHT * one.counts[number] / self.most)
                for one, top in zip(self.series, tops, strict=True)
                if one.counts[number]
            ],
        )


class Ranges:
    """A chart of how long changes take: one row for each part of the way from Stripe to the patient's page.

    A row shows the median and the 95th percentile as dots on a logarithmic scale that all rows share.
    """

    def __init__(self, legs: Sequence[Leg]) -> None:
        longest = max([10.0, *(leg.p95 for leg in legs)])
        self.span = next((tick for tick in TICKS if tick >= longest), TICKS[-1])
        self.rows = [(leg, ROW * number, self.x(leg.median), self.x(leg.p95)) for number, leg in enumerate(legs)]
        self.baseline = ROW * len(legs)
        self.height = self.baseline + 24
        self.ticks = [(duration_text(tick), self.x(tick)) for tick in TICKS if tick <= self.span]

    def x(self, seconds: float) -> str:
        """Return the horizontal position of a duration on the logarithmic scale, as a percentage such as "41.67%"."""
        position = math.log(max(seconds, TICKS[0]) / TICKS[0]) / math.log(self.span / TICKS[0])
        return f"{100 * min(1, position):.2f}%"


def round_step(highest: int) -> int:
    """Return the smallest step among 1, 2, 5, 10, 20, 50 ... such that five steps reach `highest`."""
    power = 1
    while True:
        for digit in ROUND:
            if digit * power * 5 >= highest:
                return digit * power
        power *= 10


def duration_text(seconds: float) -> str:
    """Return a duration, given in seconds, as short text in the active language: 0.0123 as "12 ms", 7200 as "2 hr"."""
    locale = to_locale(get_language() or "en")
    unit, size = next(((unit, size) for below, unit, size in UNITS if seconds < below), ("day", 86400))
    amount = seconds / size
    return format_unit(
        round(amount, 1 if amount < 10 and unit != "millisecond" else None), unit, "short", locale=locale
    )
