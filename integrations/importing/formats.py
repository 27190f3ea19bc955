"""Finds out, once for a file, how it writes dates and amounts, and reads them. What can't be decided is refused."""

import datetime
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import TypeVar

from appointments.money import currency_of

DATE = re.compile(r"(\d{1,4})([-/.])(\d{1,2})\2(\d{1,4})", re.ASCII)
TIME = re.compile(r"(\d{1,2})\s*[:hH]\s*(\d{2})?(?::(\d{2}))?", re.ASCII)
GROUPS = "\u0020\u00a0\u202f\u2009'’"  # what may stand between groups of three digits, besides the other mark
Read = TypeVar("Read")


def _day(year: str, month: str, day: str) -> datetime.date | None:
    try:
        return datetime.date(int(year), int(month), int(day)) if len(year) == 4 else None
    except ValueError:
        return None


def _year_first(text: str) -> datetime.date | None:
    found = DATE.fullmatch(text)
    return _day(found[1], found[3], found[4]) if found else None


def _day_first(text: str) -> datetime.date | None:
    found = DATE.fullmatch(text)
    return _day(found[4], found[3], found[1]) if found else None


def _month_first(text: str) -> datetime.date | None:
    found = DATE.fullmatch(text)
    return _day(found[4], found[1], found[3]) if found and found[2] != "." else None


DATES: Mapping[str, Callable[[str], datetime.date | None]] = {
    "2026-12-31": _year_first,
    "31/12/2026": _day_first,
    "12/31/2026": _month_first,
}


@dataclass(frozen=True, slots=True)
class Decided:
    """How a file writes its dates or amounts: `name` is an example of the format, "" if the file has none.

    `doubtful` is a text that has another meaning in another format that the file may use. `name` is then "".
    """

    name: str = ""
    doubtful: str = ""


def decide(
    texts: Iterable[Read], readers: Mapping[str, Callable[[Read], object | None]], key: Callable[[Read], str]
) -> Decided:
    """Decide which of `readers` fits most of the texts. A reader returns None for a text that isn't in its format.

    If several fit as many and one text means different things in them, that text is returned as doubtful, as the
    function `key` shows it.
    """
    texts = list(dict.fromkeys(texts))
    fits = {name: sum(reader(text) is not None for text in texts) for name, reader in readers.items()}
    best = [name for name, count in fits.items() if count and count == max(fits.values())]
    for text in texts:
        if len({readers[name](text) for name in best}) > 1:
            return Decided(doubtful=key(text))
    return Decided(best[0] if best else "")


def read_time(text: str) -> datetime.time | None:
    """Read a time of day such as "9:30", "9h30" or "09:30:00"."""
    found = TIME.fullmatch(text)
    try:
        return datetime.time(int(found[1]), int(found[2] or 0)) if found and not int(found[3] or 0) else None
    except ValueError:
        return None


@dataclass(frozen=True, slots=True)
class Written:
    """An amount as a file writes it in major units, and its currency."""

    text: str
    currency: str


def _amount(mark: str, other: str) -> Callable[[Written], int | None]:
    """Return a reader of amounts with the decimal mark `mark`. It returns minor units of the amount's currency.

    `other` may stand between groups of three digits, as may spaces and apostrophes.
    """
    group = f"[{re.escape(other + GROUPS)}]"
    pattern = re.compile(rf"(\d+|\d{{1,3}}(?:{group}\d{{3}})+)(?:{re.escape(mark)}(\d+))?", re.ASCII)

    def read(written: Written) -> int | None:
        found = pattern.fullmatch(written.text)
        if not found or len(found[2] or "") > currency_of(written.currency).shown:
            return None
        return in_minor_units(Decimal(re.sub(r"\D", "", found[1]) + "." + (found[2] or "0")), written.currency)

    return read


AMOUNTS: Mapping[str, Callable[[Written], int | None]] = {"1234,50": _amount(",", "."), "1234.50": _amount(".", ",")}


def in_minor_units(amount: Decimal, currency: str) -> int | None:
    """Return the amount in the currency's minor units, or None if it has too many decimal places or is negative."""
    rule = currency_of(currency)
    if amount < 0 or amount >= 10**9 or amount != amount.quantize(Decimal(1).scaleb(-rule.shown)):
        return None
    return int(amount.scaleb(rule.decimals))
