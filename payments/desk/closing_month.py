"""A month for accountants: the money of each day by method, from the journal, and how the day's closings differed."""

import datetime
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

from django.core.exceptions import ValidationError
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext as _

from appointments.forms import VALID_DAYS

from ..domain.methods import Method, method_label
from ..domain.tally import Tally
from ..models import Closing, JournalLine
from ..models.days import ONE_DAY
from .closing_report import Report
from .exports import BYTE_ORDER_MARK, Table, signed_number

ONLINE = "online"  # stands for all methods of Stripe


@dataclass
class Day:
    """One day of a month in one currency: the sums and the difference of each method, and the day's closings.

    Differences are in minor units; a correction of a closing counts on the day that it corrects.
    """

    day: datetime.date
    tallies: dict[str, Tally] = field(default_factory=dict)
    differences: dict[str, int] = field(default_factory=dict)
    closings: list[Closing] = field(default_factory=list)

    @property
    def net(self) -> int:
        return sum(each.net for each in self.tallies.values())

    @property
    def difference(self) -> int:
        return sum(self.differences.values())


@dataclass(frozen=True)
class MonthTable:
    """The days of a month in one currency."""

    currency: str
    days: list[Day]

    @cached_property
    def methods(self) -> list[str]:
        """Return the columns: those of ONLINE and the desk's methods that have a sum or a difference."""
        found = {method for day in self.days for method in day.tallies.keys() | day.differences.keys()}
        return [method for method in (ONLINE, *Method.values) if method in found]

    @property
    def rows(self) -> Iterator[tuple[Day, list[int]]]:
        """Yield each day with its nets in the order of the columns."""
        for day in self.days:
            yield day, [day.tallies.get(method, Tally(self.currency)).net for method in self.methods]

    @property
    def totals(self) -> list[int]:
        return [sum(nets) for nets in zip(*(nets for _day, nets in self.rows), strict=True)]

    @property
    def net(self) -> int:
        return sum(day.net for day in self.days)

    @property
    def difference(self) -> int:
        return sum(day.difference for day in self.days)


@dataclass(frozen=True)
class Month:
    """A month. `first` is its first day."""

    first: datetime.date

    @classmethod
    def of(cls, text: str) -> "Month":
        """Return the month that `text` names, such as "2026-11", or the present one if it names none."""
        try:
            first = datetime.datetime.strptime(f"{text}-01", "%Y-%m-%d").date()  # noqa: DTZ007 a date has no zone
            for validate in VALID_DAYS:
                validate(first)
        except (ValueError, ValidationError):
            first = timezone.localdate().replace(day=1)
        return cls(first)

    def __str__(self) -> str:
        return f"{self.first:%Y-%m}"

    @property
    def title(self) -> str:
        return date_format(self.first, "F Y").capitalize()

    @property
    def last(self) -> datetime.date:
        return (self.first + 31 * ONE_DAY).replace(day=1) - ONE_DAY

    @property
    def back(self) -> "Month":
        return Month((self.first - ONE_DAY).replace(day=1))

    @property
    def on(self) -> "Month":
        return Month(self.last + ONE_DAY)

    @cached_property
    def tables(self) -> list[MonthTable]:
        """Return a table for each currency, with the days on which money moved or that were closed."""
        found: dict[str, dict[datetime.date, Day]] = {}

        def day_in(currency: str, day: datetime.date) -> Day:
            return found.setdefault(currency, {}).setdefault(day, Day(day))

        for day, tallies in JournalLine.objects.tallies_by_day(self.first, self.last).items():
            for each in tallies:
                sums = day_in(each.currency, day).tallies
                method = each.method if each.method in Method.values else ONLINE
                sums[method] = sums.get(method, Tally(each.currency, method)) + each
        for closing in Closing.objects.filter(day__range=(self.first, self.last)):
            for section in Report(closing.content).sections:
                of_day = day_in(section.currency, closing.day)
                of_day.closings.append(closing)
                for line in section.lines:
                    method = line.tally.method
                    of_day.differences[method] = of_day.differences.get(method, 0) + line.difference
        return [MonthTable(code, [days[day] for day in sorted(days)]) for code, days in sorted(found.items())]

    def csv(self) -> Iterator[str]:
        """Yield the lines of a CSV file: the headings, then one line for each day, currency and method."""
        table = Table()
        sums = [_("Number of movements"), _("Received"), _("Given back"), _("Net"), _("Difference")]
        headings = [_("Day"), _("Closings"), _("Currency"), _("Method"), *sums, _("Reason")]
        yield BYTE_ORDER_MARK + table.line(headings)
        for of_currency in self.tables:
            for day in of_currency.days:
                for method in of_currency.methods:
                    if method in day.tallies or method in day.differences:
                        yield table.line(_cells(of_currency.currency, day, method))


def _cells(currency: str, day: Day, method: str) -> list[str]:
    tally = day.tallies.get(method, Tally(currency))
    amounts = (tally.received, tally.given_back, tally.net, day.differences.get(method, 0))
    return [
        day.day.isoformat(),
        ", ".join(str(closing.number) for closing in day.closings),
        currency.upper(),
        _("Online") if method == ONLINE else method_label(method),
        str(tally.count),
        *(signed_number(amount, currency) for amount in amounts),
        " · ".join(filter(None, (Report(closing.content).reason for closing in day.closings))),
    ]
