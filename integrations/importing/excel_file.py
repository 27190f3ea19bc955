"""Reads Excel files (.xlsx). Formulas are never computed: a formula's cell has the value that Excel stored, or none."""

import datetime
import io
import math
import re
import zipfile
from decimal import Decimal
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from openpyxl import load_workbook
from openpyxl.utils import get_column_letter

from .columns import BY_NAME, COLUMNS, Kind
from .table import LARGEST, MOST_ROWS, Problem, Row, Table, UnreadableError, Value, read_header

MOST_UNPACKED = 5 * LARGEST  # bytes: a larger one may be a zip bomb
MOST_CELLS = 2 * MOST_ROWS * len(COLUMNS)  # with the empty ones that have a format
ALLOWED = (str, int, float, datetime.date, datetime.time)
CELL = re.compile(rb"<(?:\w+:)?c[\s/>]")
SUSPECT = gettext_lazy("Save the file again in your spreadsheet program, as “Excel workbook (.xlsx)”.")


def read_excel(content: bytes) -> Table:
    """Read an Excel file. Raises UnreadableError."""
    try:
        formulas = _check_size(content)
        shown = load_workbook(io.BytesIO(content), data_only=True)
        written = load_workbook(io.BytesIO(content)) if formulas else shown
    except UnreadableError:
        raise
    except Exception as error:  # a damaged file makes openpyxl raise anything
        raise UnreadableError(_("This is no Excel file that can be read."), str(SUSPECT)) from error
    sheets = [sheet for sheet in shown.worksheets if _is_filled(sheet)]
    if len(sheets) != 1:
        raise UnreadableError(
            _("%(count)s sheets have content.") % {"count": len(sheets)}, _("Keep one sheet with the appointments.")
        )
    return _Reader(sheets[0], written[sheets[0].title]).read()


def _check_size(content: bytes) -> bool:
    """Return whether a sheet has formulas. Raises UnreadableError if the file is too large when it is unpacked."""
    formulas, cells = False, 0
    with zipfile.ZipFile(io.BytesIO(content)) as parts:
        if sum(part.file_size for part in parts.infolist()) > MOST_UNPACKED:
            raise UnreadableError(_("The file is too large when it is unpacked."), str(SUSPECT))
        for name in parts.namelist():
            if name.startswith("xl/worksheets/"):
                sheet = parts.read(name)
                cells += len(CELL.findall(sheet))
                formulas |= b"<f" in sheet or b":f" in sheet
    if cells > MOST_CELLS:
        raise UnreadableError(_("The file has too many cells."), _("Remove needless rows and columns."))
    return formulas


def _is_filled(sheet: Any) -> bool:
    return any(cell.value is not None for cells in sheet.iter_rows() for cell in cells)


class _Reader:
    """Reads one sheet: `shown` with the values that Excel stored for formulas, `written` with the formulas."""

    def __init__(self, shown: Any, written: Any) -> None:
        self.shown, self.written = shown, written
        self.table = Table([(_("Sheet"), shown.title)])

    def read(self) -> Table:
        rows = self.shown.iter_rows()
        header = next(rows)
        names = read_header(["" if cell.value is None else str(cell.value) for cell in header])
        self.table.headers = {name: str(header[at].value).strip() for at, name in names.items()}
        self.table.letters = {name: get_column_letter(at + 1) for at, name in names.items()}
        merged = self._report_merged()
        for cells in rows:
            number = cells[0].row
            found = {name: value for at, name in names.items() if (value := self._value(cells[at], name)) is not None}
            if not found and not any(problem.row == number for problem in self.table.problems[-len(names) :]):
                continue
            self.table.require_room(number)
            if number not in merged:
                self.table.rows.append(Row(number, found))
        return self.table

    def _report_merged(self) -> set[int]:
        """Add a problem for each area of merged cells, and return the rows that they touch."""
        touched: set[int] = set()
        for area in self.shown.merged_cells.ranges:
            fix = _("Unmerge them and fill in each.")
            self.table.problems.append(Problem(area.min_row, area.coord, _("Cells are merged."), fix))
            touched |= set(range(area.min_row, area.max_row + 1))
        return touched

    def _value(self, cell: Any, name: str) -> Value | None:
        """Return the cell's value as its column may have it, or None and, if it is wrong, add a problem."""
        value, complain = cell.value, self.table.complain
        if cell.data_type == "e":
            complain(cell.row, name, _("This cell shows the error %(error)s.") % {"error": value}, _("Correct it."))
        elif value is None:
            if self.written[cell.coordinate].data_type == "f":
                complain(cell.row, name, _("This formula has no stored value."),
                         _("Replace it by its value, or open and save the file in Excel."))  # fmt: skip
        elif (
            isinstance(value, bool)
            or not isinstance(value, ALLOWED)
            or (isinstance(value, float) and not math.isfinite(value))
        ):
            complain(cell.row, name, _("This cell holds neither text nor a number."), _("Write it as text."))
        elif isinstance(value, str):
            return self.table.read_text(cell.row, name, value)
        else:
            return self._typed(cell, name, value)
        return None

    def _typed(self, cell: Any, name: str, value: Any) -> Value | None:
        """Return a cell's number, date or time if the column's cells may be one."""
        kind, number = BY_NAME[name].kind, isinstance(value, int | float)
        if number and kind == Kind.AMOUNT:
            return exact(value)
        if number and kind == Kind.COUNT and value == int(value):
            return int(value)
        if number and kind in (Kind.ID, Kind.TEXT) and value == int(value) and cell.number_format in ("General", "0"):
            return str(int(value))
        if not number and kind == Kind.DATE and not isinstance(value, datetime.time):
            return self._day(cell, name, value)
        if not number and kind == Kind.TIME and not isinstance(value, datetime.date):
            rounded = datetime.datetime.combine(datetime.date.min, value) + datetime.timedelta(milliseconds=500)
            return rounded.replace(microsecond=0).time()  # Excel stores 9:30 as a part of a day
        what = _("This is a number, which Excel may have changed.") if number else _("This is a date or a time.")
        self.table.complain(cell.row, name, what, _("Format the column as text and write the cell again."))
        return None

    def _day(self, cell: Any, name: str, value: datetime.date) -> datetime.date | None:
        if isinstance(value, datetime.datetime):
            if value.time() != datetime.time():
                self.table.complain(cell.row, name, _("This cell holds a time too."), _("Put it into its own column."))
                return None
            return value.date()
        return value


def exact(value: float) -> Decimal:
    """Return the number as Excel shows it, with 15 digits. As many survive a float exactly, in both directions."""
    return Decimal(value) if isinstance(value, int) else Decimal(f"{value:.15g}")
