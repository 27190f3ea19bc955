"""Makes CSV and Excel files of appointments for tests."""

import io
from collections.abc import Mapping
from typing import Any

from openpyxl import Workbook

ROW = {"appointment_id": "A1", "patient_id": "P1", "last_name": "Roux", "first_name": "Camille",
       "practitioner": "Dr Mercier",
       "service": "Bilan", "date": "2027-03-31", "time": "09:30", "minutes": "30", "price": "60.00"}  # fmt: skip


def row(number: int = 1, **cells: Any) -> dict[str, Any]:
    """Return a row of a file whose ids and day depend on `number`; `cells` replace its cells by column."""
    own = {"appointment_id": f"A{number}", "patient_id": f"P{number}", "last_name": f"Roux {number}"}
    hour, minute = divmod(30 * (number % 40), 60)
    return ROW | own | {"time": f"{hour:02}:{minute:02}", "date": f"2027-03-{1 + number // 40:02}"} | cells


def csv_of(*rows: Mapping[str, Any], separator: str = ";", encoding: str = "utf-8") -> bytes:
    """Return a CSV file with these rows; the columns are those of the first row."""
    names = list(rows[0])
    lines = [names, *([str(each.get(name, "")) for name in names] for each in rows)]
    return "\r\n".join(separator.join(line) for line in lines).encode(encoding)


def excel_of(*rows: Mapping[str, Any]) -> Workbook:
    """Return a workbook with these rows on its sheet; the columns are those of the first row."""
    book = Workbook()
    names = list(rows[0])
    book.active.append(names)
    for each in rows:
        book.active.append([each.get(name) for name in names])
    return book


def stored(book: Workbook) -> bytes:
    """Return the workbook as the bytes of an .xlsx file."""
    buffer = io.BytesIO()
    book.save(buffer)
    return buffer.getvalue()
