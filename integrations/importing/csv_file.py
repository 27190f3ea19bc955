"""Reads CSV files: finds out the encoding and the separator, or refuses a file in which they can't be decided."""

import codecs
import csv
import io
import re
from collections.abc import Iterator

from django.utils.translation import gettext as _

from .columns import known_in
from .table import Row, Table, UnreadableError, Value, read_header

BOMS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
NAMES = {"utf-8-sig": "UTF-8", "utf-16": "UTF-16", "utf-16-le": "UTF-16", "utf-16-be": "UTF-16", "utf-8": "UTF-8",
         "cp1252": "Windows-1252"}  # fmt: skip
SEPARATORS = (";", ",", "\t")
WESTERN = re.compile(r"[\x00-\x7f\u00a0-\u00ffŒœŸŠšŽž€‚ƒ„…†‡ˆ‰‹‘’“”•–—˜™›]*")


def read_csv(content: bytes) -> Table:
    """Read a CSV file. Raises UnreadableError."""
    text, encoding = _decoded(content)
    separator = _separator(text)
    table = Table([(_("Text"), NAMES[encoding]), (_("Separator"), {"\t": _("tab")}.get(separator, separator))])
    if sample := _accented(text):
        table.detected.append((_("Letters with accents, as read"), sample))
    rows = _records(text, separator)
    names = read_header(next(rows)[1])
    header_length = max(names) + 1
    table.headers = {name: name for name in names.values()}
    for number, cells in rows:
        if not any(cell.strip() for cell in cells):
            continue
        table.require_room(number)
        if len(cells) > header_length and any(cell.strip() for cell in cells[header_length:]):
            table.complain(number, "", _("This row has more cells than the header."), _("Check its separators."))
            continue
        table.rows.append(Row(number, _cells(table, number, names, cells)))
    return table


def _cells(table: Table, number: int, names: dict[int, str], cells: list[str]) -> dict[str, Value]:
    found: dict[str, Value] = {}
    for position, name in names.items():
        if position < len(cells) and (text := table.read_text(number, name, cells[position])):
            found[name] = text
    return found


def _decoded(content: bytes) -> tuple[str, str]:
    """Return the text and the name of its encoding. Raises UnreadableError."""
    encoding = next((name for bom, name in BOMS if content.startswith(bom)), "")
    if not encoding and b"\x00" in content[:2000]:
        encoding = "utf-16-be" if content[:1] == b"\x00" else "utf-16-le"
    for candidate in [encoding] if encoding else ["utf-8", "cp1252"]:
        try:
            text = content.decode(candidate)
        except UnicodeDecodeError:
            continue
        if "\x00" not in text and (candidate != "cp1252" or WESTERN.fullmatch(text)):
            return text, candidate
    raise UnreadableError(_("The file’s encoding can’t be decided."), _("Save it as “CSV UTF-8”, or as .xlsx."))


def _separator(text: str) -> str:
    """Return the separator with which the first line has the most known columns. Raises UnreadableError."""
    first = next((line for line in text.splitlines() if line.strip()), "")
    known = {}
    for separator in SEPARATORS:
        try:
            known[separator] = known_in(next(csv.reader([first], delimiter=separator), []))
        except csv.Error:
            known[separator] = 0
    best = max(known, key=lambda separator: known[separator])
    if not known[best] or list(known.values()).count(known[best]) > 1:
        raise UnreadableError(
            _("The separator can’t be decided, because the first row has no two known columns."),
            _("Begin with a row of column names, separated by “;”, “,” or tabs."),
            row=1,
        )
    return best


def _records(text: str, separator: str) -> Iterator[tuple[int, list[str]]]:
    """Yield each record's number, as spreadsheet programs count rows, and its cells. Raises UnreadableError."""
    number = 0
    try:
        for number, cells in enumerate(csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True), 1):
            yield number, cells
    except csv.Error as error:
        raise UnreadableError(
            _("The quotes in this row aren’t closed, or it is too long."), _("Check its quotes."), row=number + 1
        ) from error


def _accented(text: str) -> str:
    """Return the first few words that aren't plain ASCII, so that a person sees whether they were read rightly."""
    words = dict.fromkeys(re.findall(r"\w*[^\W\x00-\x7f]\w*", text[:20_000]))
    return ", ".join(list(words)[:5])
