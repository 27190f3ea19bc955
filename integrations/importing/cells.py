"""Reads the cells of a table as their columns require. Amounts are read last, when their currency is known."""

import datetime
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.utils import timezone, translation
from django.utils.translation import gettext as _

from appointments.models import FIRST_DAY, LAST_DAY, LONGEST, SHORTEST, Appointment, Currency
from appointments.week import moment
from people import external_ids

from .columns import BY_NAME, Kind, header_key
from .formats import AMOUNTS, DATES, Written, decide, in_minor_units, read_time
from .table import Row, Table

MOST_CHARACTERS = {"last_name": 150, "first_name": 150, "practitioner": 120, "service": 120, "phone": 32, "email": 254}


class WrongCellError(ValueError):
    """Raised with what is wrong and how to mend it, when a cell can't be read."""


@dataclass(frozen=True, slots=True)
class Line:
    """A row whose cells have been read. `values` has them by column; amounts are still as written."""

    number: int
    values: dict[str, Any]

    def get(self, name: str) -> Any:
        return self.values.get(name)


def read_cells(table: Table) -> list[Line]:
    """Return the table's rows with their cells read. Rows with a problem are left out, and the problem is noted."""
    written = [text for row in table.rows for text in _dates_of(row) if isinstance(text, str)]
    dates = decide(written, DATES, str)
    if dates.doubtful:
        what = _("It can’t be decided whether %(text)s begins with the day or the month.") % {"text": dates.doubtful}
        table.complain(0, "date", what, _("Write all dates like 2026-12-31."))
        return []
    if dates.name:
        table.detected.append((_("Dates"), dates.name))
    day = DATES.get(dates.name, lambda text: None)
    lines = []
    for row in table.rows:
        values, fine = {}, True
        for name, cell in row.cells.items():
            try:
                values[name] = _read(name, cell, day)
            except WrongCellError as error:
                table.complain(row.number, name, *error.args)
                fine = False
        if fine:
            lines.append(Line(row.number, values))
    return lines


def _dates_of(row: Row) -> list[Any]:
    return [cell for name, cell in row.cells.items() if BY_NAME[name].kind == Kind.DATE]


def _read(name: str, cell: Any, day: Callable[[str], datetime.date | None]) -> Any:
    kind = BY_NAME[name].kind
    if kind == Kind.AMOUNT:
        return cell
    if kind == Kind.DATE:
        return _date(name, day(cell) if isinstance(cell, str) else cell)
    if kind == Kind.TIME:
        return _time(read_time(cell) if isinstance(cell, str) else cell)
    if kind == Kind.COUNT:
        return _minutes(cell)
    if name in ("currency", "status"):
        return _choice(name, cell)
    if kind == Kind.ID and not external_ids.VALID.fullmatch(cell):
        raise WrongCellError(str(external_ids.RULE), _("Correct it."))
    if len(cell) > MOST_CHARACTERS.get(name, len(cell)):
        raise WrongCellError(
            _("This text has more than %(most)s characters.") % {"most": MOST_CHARACTERS[name]}, _("Shorten it.")
        )
    return _email(cell) if kind == Kind.EMAIL else cell


def _date(name: str, read: datetime.date | None) -> datetime.date:
    if read is None:
        raise WrongCellError(_("This is no date like the others in the file."), _("Write all dates in one format."))
    today = timezone.localdate()
    if not FIRST_DAY <= read <= (today if name == "birth_date" else LAST_DAY):
        raise WrongCellError(_("This date can’t be right."), _("Check the year."))
    return read


def _time(read: datetime.time | None) -> datetime.time:
    if read is None or read.second:
        raise WrongCellError(_("This is no time of day."), _("Write it like 09:30."))
    return read


def _minutes(cell: Any) -> int:
    text = str(cell)
    if not (text.isascii() and text.isdecimal() and SHORTEST <= int(text[:9]) <= LONGEST):
        raise WrongCellError(_("This is no length from 5 to 480 minutes."), _("Write a whole number of minutes."))
    return int(text)


def _choice(name: str, cell: str) -> str:
    choices = {"currency": _currencies, "status": _statuses}[name]()
    if header_key(cell) not in choices:
        known = ", ".join(dict.fromkeys(choices))
        raise WrongCellError(_("This isn’t known."), _("Write one of: %(known)s.") % {"known": known})
    return choices[header_key(cell)]


def _currencies() -> dict[str, str]:
    return {str(code): str(code) for code in Currency.values}


def _statuses() -> dict[str, str]:
    """Return the states of attendance by their codes and by their labels in all languages."""
    found = {header_key(code): str(code) for code in Appointment.Status.values} | {"cancelled": "canceled"}
    for language, _name in settings.LANGUAGES:
        with translation.override(language):
            found |= {header_key(str(status.label)): status.value for status in Appointment.Status}
    return found


def _email(text: str) -> str:
    """Return the address in lower case, if its letters are plain: "ı" must not become an "i" of another account."""
    try:
        validate_email(text)
    except ValidationError as error:
        raise WrongCellError(_("This is no e-mail address."), _("Correct it.")) from error
    if not text.isascii():
        raise WrongCellError(_("This e-mail address has letters that aren’t plain."), _("Correct it."))
    return text.lower()


def start_of(line: Line) -> datetime.datetime:
    """Return when the line's appointment starts, in UTC.

    Raises WrongCellError if the clinic's clocks skip or repeat this time.
    """
    found = moment(datetime.datetime.combine(line.values["date"], line.values["time"]))
    if found is None:
        raise WrongCellError(
            _("The clocks change that night: this time is skipped or comes twice."), _("Write another time.")
        )
    return found


def read_amounts(table: Table, lines: list[tuple[Line, str]]) -> dict[int, dict[str, int]]:
    """Return the amounts of each line in minor units, by row number and column. Problems are noted in the table.

    `lines` holds each line with its currency.
    """
    names = [name for name, column in BY_NAME.items() if column.kind == Kind.AMOUNT]
    cells = [
        (line.number, name, line.values[name], code) for line, code in lines for name in names if name in line.values
    ]
    texts = [Written(cell, code) for _row, _name, cell, code in cells if isinstance(cell, str)]
    decided = decide(texts, AMOUNTS, lambda written: written.text)
    if decided.doubtful:
        what = _("It can’t be decided what the amount %(text)s means.") % {"text": decided.doubtful}
        table.complain(0, "price", what, _("Write amounts like 1234.50, without marks between thousands."))
        return {}
    if decided.name:
        table.detected.append((_("Amounts"), decided.name))
    found: dict[int, dict[str, int]] = {}
    for row, name, cell, code in cells:
        amount = _minor(cell, code, decided.name)
        if amount is None:
            what = _("This is no amount in %(currency)s like the others in the file.") % {"currency": code.upper()}
            table.complain(row, name, what, _("Check its decimal places and marks."))
        else:
            found.setdefault(row, {})[name] = amount
    return found


def _minor(cell: str | Decimal, code: str, decided: str) -> int | None:
    if isinstance(cell, Decimal):
        return in_minor_units(cell, code)
    return AMOUNTS[decided](Written(cell, code)) if decided else None
