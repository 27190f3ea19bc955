"""The files that people download to fill in: a header and an example row."""

import csv
import io

from .columns import COLUMNS

NAMES = {"csv": "text/csv; charset=utf-8", "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"}


def template_file(kind: str) -> bytes:
    """Return a file of the kind "csv" or "xlsx", all of whose cells are text, so that Excel changes none."""
    rows = [[column.name for column in COLUMNS], [column.example for column in COLUMNS]]
    return _csv(rows) if kind == "csv" else _excel(rows)


def _csv(rows: list[list[str]]) -> bytes:
    buffer = io.StringIO(newline="")
    csv.writer(buffer, delimiter=";").writerows(rows)
    return buffer.getvalue().encode("utf-8-sig")


def _excel(rows: list[list[str]]) -> bytes:
    from openpyxl import Workbook  # only now, so that other processes don't load it

    book, buffer = Workbook(), io.BytesIO()
    for row in rows:
        book.active.append(row)
    for number in range(1, 1001):
        for position in range(1, len(COLUMNS) + 1):
            book.active.cell(number, position).number_format = "@"
    book.save(buffer)
    return buffer.getvalue()
