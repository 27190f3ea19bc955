"""What a closing says: sums by method and by member of staff, cheques, cash and differences, read from its content.

The content is JSON, so that it can be hashed and is stored as it was. The page that asks to confirm a closing and the
pages that show sealed ones read it here, so that they can't disagree.
"""

import datetime
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from ..domain.methods import Method
from ..domain.movements import MovementKind
from ..domain.tally import Tally, tally, totals
from ..models.days import begin_of

CASH = Method.CASH.value
Content = Mapping[str, Any]
# What was found, in minor units, by currency and method.
Found = Mapping[tuple[str, str], int]


@dataclass(frozen=True, slots=True)
class Entry:
    """One movement of money at the desk or at Stripe, as a closing stores it.

    `id` is the id of the fact that proves it (a desk entry or the state of a Stripe object), `at` is Unix seconds, `by`
    is the key of the member of staff who made it, if one did, `reference` is the appointment's, and `deposited` is the
    ISO date on which a cheque goes to the bank, or "".
    """

    id: str
    kind: str
    method: str
    amount: int
    currency: str
    at: int
    by: int | None
    reference: str
    deposited: str = ""

    @property
    def when(self) -> datetime.datetime:
        return datetime.datetime.fromtimestamp(self.at, datetime.UTC)

    @property
    def label(self) -> str:
        return str(MovementKind(self.kind).label)

    @property
    def deposit_day(self) -> datetime.date | None:
        return datetime.date.fromisoformat(self.deposited) if self.deposited else None


@dataclass(frozen=True, slots=True)
class Drawer:
    """The cash drawer in one currency, in minor units.

    `before` is what the last closing left in it, `opening` what was in it in the morning, `counted` what was in it at
    the end, and `left` what stays in it for the next day; the rest goes to the bank. `pieces` says how many notes or
    coins of each value were counted, if they were counted one by one.
    """

    currency: str
    before: int
    opening: int
    counted: int
    left: int
    pieces: Mapping[str, int] = field(default_factory=dict)

    @property
    def gap(self) -> int:
        """Return how much more was in the drawer in the morning than the last closing had left in it."""
        return self.opening - self.before

    @property
    def found(self) -> int:
        """Return how much cash the day brought according to the count."""
        return self.counted - self.opening

    @property
    def banked(self) -> int:
        return self.counted - self.left

    @property
    def counts(self) -> list[tuple[int, int]]:
        """Return how many notes or coins of each value (minor units) were counted, the greatest value first."""
        return sorted(((int(value), count) for value, count in self.pieces.items()), reverse=True)


@dataclass(frozen=True, slots=True)
class Line:
    """The sums of one payment method. `found` is how much of it was found, in minor units, or None if not counted."""

    tally: Tally
    found: int | None

    @property
    def difference(self) -> int:
        return 0 if self.found is None else self.found - self.tally.net


@dataclass(frozen=True, slots=True)
class Section:
    """What a closing says about one currency. `online` is the sum of what moved through Stripe, or None."""

    currency: str
    lines: list[Line]
    online: Tally | None = None
    drawer: Drawer | None = None

    @property
    def total(self) -> Tally:
        return sum((line.tally for line in self.lines), self.online or Tally(self.currency))

    @property
    def difference(self) -> int:
        return sum(line.difference for line in self.lines)


@dataclass(frozen=True)
class Report:
    """The content of a closing, to be shown."""

    content: Content

    @property
    def since(self) -> datetime.date:
        """Return the first day that the closing closes; it is an earlier one if several days were closed at once."""
        return datetime.date.fromisoformat(self.content["since"])

    @cached_property
    def entries(self) -> list[Entry]:
        return [Entry(**stored) for stored in self.content["entries"]]

    @cached_property
    def online(self) -> list[Entry]:
        """Return what moved through Stripe."""
        return [Entry(**stored) for stored in self.content["online"]]

    @property
    def movements(self) -> list[Entry]:
        """Return all movements that the closing holds, oldest first."""
        return sorted([*self.entries, *self.online], key=lambda entry: (entry.at, entry.id))

    @property
    def late(self) -> list[Entry]:
        """Return the movements that were recorded after their day had been closed by an earlier closing."""
        return late_of(self.movements, self.since)

    @cached_property
    def found(self) -> Found:
        """Return what was found, by currency and method; for cash, what the count says that the day brought."""
        typed = self.content["found"]
        found = {(currency, method): amount for currency, of in typed.items() for method, amount in of.items()}
        return found | {(drawer.currency, CASH): drawer.found for drawer in self.drawers}

    @cached_property
    def drawers(self) -> list[Drawer]:
        return [Drawer(**stored) for stored in self.content["drawers"]]

    @cached_property
    def sections(self) -> list[Section]:
        """Return what the closing says about each currency."""
        online = {each.currency: each for each in totals(tally(self.online))}
        drawers = {drawer.currency: drawer for drawer in self.drawers}
        lines = lines_of(tally(self.entries), self.found)
        currencies = sorted({line.tally.currency for line in lines} | online.keys() | drawers.keys())
        return [
            Section(code, [line for line in lines if line.tally.currency == code], online.get(code), drawers.get(code))
            for code in currencies
        ]

    @property
    def differs(self) -> bool:
        """Return whether less or more was found than expected, now or in the morning."""
        lines = [line for section in self.sections for line in section.lines]
        return any(line.difference for line in lines) or any(drawer.gap for drawer in self.drawers)

    @property
    def staff(self) -> list[tuple[str, list[Tally]]]:
        """Return each member of staff by name, with the sums of what they took and gave back, also through Stripe."""
        people: dict[str, str] = self.content["people"]
        by_name = sorted((name, key) for key, name in people.items())
        made = [*self.entries, *(entry for entry in self.online if entry.by is not None)]
        return [(name, tally(entry for entry in made if str(entry.by) == key)) for name, key in by_name]

    @property
    def cheques(self) -> list[tuple[datetime.date | None, list[Entry], list[Tally]]]:
        """Return the cheques by the day on which they go to the bank, with the sum of each currency.

        Cheques that were entered by mistake are left out, with the entry that says so.
        """
        reversed_ids = {entry.id.removeprefix("reversal_") for entry in self.entries if entry.kind == REVERSAL}
        known = {entry.id for entry in self.entries}
        gone = {each for name in reversed_ids & known for each in (name, f"reversal_{name}")}
        cheques = [entry for entry in self.entries if entry.method == Method.CHEQUE and entry.id not in gone]
        days = sorted({entry.deposited for entry in cheques})
        found = []
        for day in days:
            of_day = [entry for entry in cheques if entry.deposited == day]
            found.append((of_day[0].deposit_day, of_day, totals(tally(of_day))))
        return found

    @property
    def reason(self) -> str:
        return str(self.content["reason"])


REVERSAL = MovementKind.REVERSAL.value


def late_of(movements: Iterable[Entry], since: datetime.date) -> list[Entry]:
    """Return the movements dated before `since`, the first day that their closing closes."""
    begin = begin_of(since).timestamp()
    return [entry for entry in movements if entry.at < begin]


def lines_of(tallies: Iterable[Tally], found: Found) -> list[Line]:
    """Return a line for each currency and method that moved or was found, by currency and in the order of `Method`."""
    sums = {(each.currency, each.method): each for each in tallies}
    order = {method.value: place for place, method in enumerate(Method)}
    keys = sorted(sums.keys() | found.keys(), key=lambda key: (key[0], order.get(key[1], len(order)), key[1]))
    return [Line(sums.get(key, Tally(*key)), found.get(key)) for key in keys]
