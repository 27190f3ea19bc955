"""What a file holds once it is read: rows of cells under known columns, and what is wrong with it."""

import datetime
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from unicodedata import category

from django.utils.translation import gettext as _

from .columns import COLUMNS, KEYS, header_key

Value = str | int | Decimal | datetime.date | datetime.time
MOST_ROWS = 10_000
LARGEST = 10 * 1024 * 1024  # bytes of a file
LONGEST_CELL = 1000  # characters


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem of a file: its row (0: the whole file), its column or cell, what is wrong, and how to correct it."""

    row: int
    column: str
    what: str
    fix: str

    def __str__(self) -> str:
        place = " ".join(filter(None, (_("row %(row)s") % {"row": self.row} if self.row else _("file"), self.column)))
        return f"{place}: {self.what} {self.fix}".strip()


class UnreadableError(Exception):
    """Raised when a file can't be read at all; `problem` says why."""

    def __init__(self, what: str, fix: str, column: str = "", row: int = 0) -> None:
        super().__init__(what)
        self.problem = Problem(row, column, what, fix)


@dataclass(frozen=True, slots=True)
class Row:
    """One row. `number` is the row's number in a spreadsheet program; `cells` has the non-empty cells by column."""

    number: int
    cells: dict[str, Value]


@dataclass(slots=True)
class Table:
    """A file that was read. `detected` says in pairs what was found out about it; `places` names each column's place.

    The place is the header as written and, in Excel files, the column's letters.
    """

    detected: list[tuple[str, str]] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    letters: dict[str, str] = field(default_factory=dict)

    def place(self, name: str, row: int = 0) -> str:
        """Return how the column `name` is called in the file, with the cell's name if it is an Excel file."""
        letters = self.letters.get(name, "")
        header = self.headers.get(name, name)
        return f"{header} ({letters}{row or ''})" if letters else header

    def complain(self, row: int, name: str, what: str, fix: str = "") -> None:
        """Add a problem with the cell of column `name` in this row."""
        self.problems.append(Problem(row, self.place(name, row), what, fix))

    def read_text(self, row: int, name: str, text: str) -> str | None:
        """Return a cell's text without outer spaces, or None if it is empty or, which is noted, no ordinary line."""
        text = text.strip()
        if len(text) > LONGEST_CELL or any(category(letter) in ("Cc", "Cs") for letter in text):
            self.complain(row, name, _("This cell holds a line break or is too long."), _("Shorten it."))
            return None
        return text or None

    def require_room(self, row: int) -> None:
        """Raise UnreadableError if the table already has MOST_ROWS rows."""
        if len(self.rows) == MOST_ROWS:
            what = _("The file has more than %(most)s rows.") % {"most": MOST_ROWS}
            raise UnreadableError(what, _("Split it."), row=row)


def read_header(texts: Sequence[str]) -> dict[int, str]:
    """Return the names of the columns by their positions. Raises UnreadableError if the header isn't clear."""
    found: dict[int, str] = {}
    for position, text in enumerate(texts):
        column = KEYS.get(header_key(text))
        if column is None:
            if text.strip():
                known = ", ".join(each.name for each in COLUMNS)
                fix = _("Remove the column or rename it. Known columns: %(known)s.") % {"known": known}
                raise UnreadableError(_("This column isn’t known."), fix, text.strip()[:60], 1)
            continue
        if column.name in found.values():
            raise UnreadableError(_("Two columns have this meaning."), _("Remove one of them."), text.strip(), 1)
        found[position] = column.name
    for each in COLUMNS:
        if each.needed and each.name not in found.values():
            raise UnreadableError(_("This column is missing."), _("Add it, also if cells stay empty."), each.name, 1)
    return found
