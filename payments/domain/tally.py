"""Sums of money by currency and payment method. Amounts in different currencies are never added."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Protocol


class Moved(Protocol):
    """A movement of money: `amount` is in minor units of `currency`, and negative when money leaves the clinic."""

    @property
    def amount(self) -> int: ...

    @property
    def currency(self) -> str: ...

    @property
    def method(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Tally:
    """How many movements there were in one currency by one payment method, and how much money moved.

    Amounts are in minor units. `given_back` is what left the clinic, so it is never above zero. `method` is a desk
    `Method` or Stripe's payment method type, or "" for the total of a currency.
    """

    currency: str
    method: str = ""
    count: int = 0
    received: int = 0
    given_back: int = 0

    @property
    def net(self) -> int:
        return self.received + self.given_back

    def __add__(self, other: "Tally") -> "Tally":
        if self.currency != other.currency:
            raise ValueError("amounts of two currencies can't be added")
        return replace(
            self,
            count=self.count + other.count,
            received=self.received + other.received,
            given_back=self.given_back + other.given_back,
        )


def tally(movements: Iterable[Moved]) -> list[Tally]:
    """Return a Tally for each pair of currency and method in these movements, sorted by currency, then by method."""
    sums: dict[tuple[str, str], Tally] = {}
    for line in movements:
        key = (line.currency, line.method)
        one = Tally(*key, 1, max(0, line.amount), min(0, line.amount))
        sums[key] = sums[key] + one if key in sums else one
    return [sums[key] for key in sorted(sums)]


def totals(tallies: Iterable[Tally]) -> list[Tally]:
    """Return the total of each currency, sorted by currency."""
    sums: dict[str, Tally] = {}
    for each in tallies:
        sums[each.currency] = sums.get(each.currency, Tally(each.currency)) + each
    return [sums[currency] for currency in sorted(sums)]
