"""Tests that CSV and Excel files are read as they are meant, and that what can't be decided is refused."""

import datetime
import io
import zipfile
from decimal import Decimal
from typing import Any

import pytest
from django.utils import translation
from hypothesis import given, settings
from hypothesis import strategies as st

from integrations.importing import excel_file, table
from integrations.importing.cells import read_amounts, read_cells
from integrations.importing.columns import COLUMNS, KEYS, header_key
from integrations.importing.reader import read
from tests.integrations.files import csv_of, excel_of, row, stored


@pytest.fixture(autouse=True)
def _in_english() -> Any:
    with translation.override("en"):
        yield


def problems_of(content: bytes) -> list[str]:
    """Return the problems of a file that are found without the database, a line for each."""
    found = read(content)
    lines = read_cells(found)
    read_amounts(found, [(line, line.get("currency") or "eur") for line in lines])
    return [str(problem) for problem in found.problems]


def amounts_of(*prices: str, currency: str = "EUR") -> list[int | None]:
    found = read(csv_of(*(row(number, price=price, currency=currency) for number, price in enumerate(prices, 1))))
    lines = read_cells(found)
    amounts = read_amounts(found, [(line, line.get("currency")) for line in lines])
    return [amounts.get(line.number, {}).get("price") for line in lines]


@pytest.mark.parametrize("separator", [";", ",", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252"])
def test_encoding_and_separator_are_found_out_and_shown(separator: str, encoding: str) -> None:
    found = read(csv_of(row(first_name="Zoé"), separator=separator, encoding=encoding))
    assert not found.problems
    assert found.rows[0].cells["first_name"] == "Zoé"
    shown = dict(found.detected)
    assert shown["Separator"] == {"\t": "tab"}.get(separator, separator)
    assert shown["Text"] == {"utf-8-sig": "UTF-8", "cp1252": "Windows-1252"}.get(
        encoding, encoding.upper()[:6].rstrip("-")
    )
    assert shown["Letters with accents, as read"] == "Zoé"


@pytest.mark.parametrize("content", [b"\x81\x8d;\x9d", "prénom;appointment_id".encode("mac_roman"), b"", b"\x00" * 50,
                                     b"appointment_id", b"PK\x03\x04rubbish", b"\xd0\xcf\x11\xe0"])  # fmt: skip
def test_what_cannot_be_decided_is_refused(content: bytes) -> None:
    found = read(content)
    assert len(found.problems) == 1
    assert not found.rows


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("appointment_id;date;time;Colour", "row 1 Colour: This column isn’t known."),
        ("appointment_id;date", "row 1 time: This column is missing."),
        ("appointment_id;date;time;prix;Price ", "row 1 Price: Two columns have this meaning. Remove one of them."),
    ],
)
def test_a_wrong_header_is_an_error(header: str, said: str) -> None:
    assert [str(problem)[: len(said)] for problem in read(f"{header}\n1;2;3;4;5".encode()).problems] == [said]


def test_headers_may_be_french_and_untidy() -> None:
    found = read(" RENDEZ-VOUS ; Date;heure;Prénom;PRIX\nA1;2027-01-01;9h;Zoé;5".encode())
    assert found.rows[0].cells.keys() == {"appointment_id", "date", "time", "first_name", "price"}


def test_no_header_means_two_columns() -> None:
    for column in COLUMNS:
        for text in (column.name, *column.also):
            assert KEYS[header_key(text)] is column


@pytest.mark.parametrize(
    ("written", "minor"),
    [
        (["1 234,50"], [123450]), (["1\u00a0234,50", "12"], [123450, 1200]), (["1\u202f234,5"], [123450]),
        (["1,234.50"], [123450]), (["1’234.50"], [123450]), (["1.234,50", "0"], [123450, 0]), (["60"], [6000]),
        (["1,234"], [123400]),  # only as a mark between thousands does it suit the euro
    ],
)  # fmt: skip
def test_amounts_are_major_units_in_the_files_own_format(written: list[str], minor: list[int]) -> None:
    assert amounts_of(*written) == minor


def test_amounts_follow_the_currency() -> None:
    assert amounts_of("1234", currency="JPY") == [1234]
    assert amounts_of("1.5", currency="JPY") == [None]
    assert amounts_of("1.234", "0.5", currency="KWD") == [1234, 500]
    assert amounts_of("1.234", currency="KWD") == [None]  # one dinar or a thousand
    assert amounts_of("12.345", "1.5", "2.5", currency="EUR") == [None, 150, 250]
    assert amounts_of("-5") == [None]


def test_an_amount_that_cannot_be_decided_is_named() -> None:
    said = problems_of(csv_of(row(price="1,234", currency="KWD")))
    assert said == [
        "file price: It can’t be decided what the amount 1,234 means."
        " Write amounts like 1234.50, without marks between thousands."
    ]


@pytest.mark.parametrize(
    ("dates", "read_as"),
    [
        (["31/01/2027", "01/02/2027"], [(31, 1), (1, 2)]),
        (["01/31/2027", "01/02/2027"], [(31, 1), (2, 1)]),
        (["2027-02-01"], [(1, 2)]),
        (["01.02.2027"], [(1, 2)]),
        (["05/05/2027"], [(5, 5)]),
    ],
)
def test_one_date_format_holds_for_a_file(dates: list[str], read_as: list[tuple[int, int]]) -> None:
    lines = read_cells(read(csv_of(*(row(number, date=text) for number, text in enumerate(dates, 1)))))
    assert [(line.values["date"].day, line.values["date"].month) for line in lines] == read_as


def test_a_date_that_cannot_be_decided_is_refused() -> None:
    said = "file date: It can’t be decided whether 01/02/2026 begins with the day or the month."
    assert problems_of(csv_of(row(date="01/02/2026"))) == [f"{said} Write all dates like 2026-12-31."]


def test_each_wrong_cell_has_a_line() -> None:
    first = row(1, currency="", email="", status="", date="2027-02-30")
    said = problems_of(
        csv_of(
            first, row(2, time="25:00"), row(3, minutes="3"), row(4, currency="xyz"), row(5, email="a@b"),
            row(6, patient_id="é 1"), row(7), row(8, first_name="x" * 151), row(9, status="maybe"),
        )
    )  # fmt: skip
    assert [line.split(":")[0] for line in said] == [
        "row 2 date", "row 3 time", "row 4 minutes", "row 5 currency", "row 6 email", "row 7 patient_id",
        "row 9 first_name", "row 10 status",
    ]  # fmt: skip


def test_an_address_is_folded_and_must_be_plain() -> None:
    lines = read_cells(read(csv_of(row(email="Ann@X.fr"))))
    assert lines[0].values["email"] == "ann@x.fr"
    assert problems_of(csv_of(row(email="mıke@example.org"))) == [
        "row 2 email: This e-mail address has letters that aren’t plain. Correct it."
    ]


def test_excel_s_own_values_are_read_exactly() -> None:
    cells = row(date=datetime.date(2027, 3, 31), time=datetime.time(9, 30), minutes=30, price=12.1, appointment_id=1001)
    found = read(stored(excel_of(cells)))
    assert not found.problems
    lines = read_cells(found)
    assert lines[0].values["date"] == datetime.date(2027, 3, 31)
    assert lines[0].values["time"] == datetime.time(9, 30)
    assert lines[0].values["appointment_id"] == "1001"
    assert lines[0].values["price"] == Decimal("12.1")


@given(st.decimals(0, 10**9, places=3, allow_nan=False))
def test_a_number_survives_excel_s_float(amount: Decimal) -> None:
    assert excel_file.exact(float(amount)) == amount


@pytest.mark.parametrize(
    ("name", "value", "cell", "what"),
    [
        ("phone", 612345678, "phone (K2)", "This is a number, which Excel may have changed."),
        ("price", "=6*10", "price (J2)", "This formula has no stored value."),
        ("date", 46112, "date (G2)", "This is a number, which Excel may have changed."),
        ("date", datetime.datetime(2027, 3, 31, 9), "date (G2)", "This cell holds a time too."),  # noqa: DTZ001
        ("time", "#N/A", "time (H2)", "This cell shows the error #N/A."),
        ("first_name", True, "first_name (D2)", "This cell holds neither text nor a number."),
        ("last_name", "a\nb", "last_name (C2)", "This cell holds a line break or is too long."),
    ],
)
def test_a_cell_that_excel_spoils_is_named(name: str, value: Any, cell: str, what: str) -> None:
    book = excel_of(row(phone="") | {name: value})
    assert [str(problem).startswith(f"row 2 {cell}: {what}") for problem in read(stored(book)).problems] == [True]


def test_an_id_with_zeros_before_it_must_be_text() -> None:
    book = excel_of(row(appointment_id=7))
    book.active["A2"].number_format = "0000"
    assert [problem.column for problem in read(stored(book)).problems] == ["appointment_id (A2)"]


def test_merged_cells_are_named() -> None:
    book = excel_of(row(1), row(2))
    book.active.merge_cells("C2:C3")
    assert [str(problem) for problem in read(stored(book)).problems] == [
        "row 2 C2:C3: Cells are merged. Unmerge them and fill in each."
    ]


def test_empty_rows_with_a_format_are_skipped() -> None:
    book = excel_of(row())
    for number in range(3, 1001):
        book.active.cell(number, 1).number_format = "0.00"
    found = read(stored(book))
    assert (len(found.rows), found.problems) == (1, [])


def test_one_sheet_may_have_content() -> None:
    book = excel_of(row())
    book.create_sheet("empty")
    assert not read(stored(book)).problems
    book["empty"]["B2"] = 1
    assert [problem.what for problem in read(stored(book)).problems] == ["2 sheets have content."]


def test_too_large_files_are_refused_before_they_are_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as parts:
        parts.writestr("xl/worksheets/sheet1.xml", b" " * (excel_file.MOST_UNPACKED + 1))
    assert [problem.what for problem in read(bomb.getvalue()).problems] == [
        "The file is too large when it is unpacked."
    ]
    assert [problem.what for problem in read(b"a" * (table.LARGEST + 1)).problems] == ["The file is larger than 10 MB."]
    cells = io.BytesIO()
    with zipfile.ZipFile(cells, "w", zipfile.ZIP_DEFLATED) as parts:
        parts.writestr("xl/worksheets/sheet1.xml", b"<c/>" * (excel_file.MOST_CELLS + 1))
    assert [problem.what for problem in read(cells.getvalue()).problems] == ["The file has too many cells."]


@pytest.mark.parametrize("excel", [False, True])
def test_too_many_rows_are_refused(excel: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("integrations.importing.table.MOST_ROWS", 2)
    rows = [row(number) for number in range(1, 4)]
    found = read(stored(excel_of(*rows)) if excel else csv_of(*rows))
    assert [str(problem) for problem in found.problems] == ["row 4: The file has more than 2 rows. Split it."]


ODD = st.one_of(
    st.text(max_size=30), st.sampled_from(["1e999", "0x10", "１２", "-0", "NaN", "∞", '"', "=1+1", "9" * 400])
)


ODD_ROW = st.fixed_dictionaries(dict.fromkeys(row(email="", phone="", currency="", status=""), ODD))
TEXT = st.text(st.characters(min_codepoint=32, exclude_categories=["Cs"]), max_size=20)
DATES = st.datetimes(datetime.datetime(1900, 1, 1))  # noqa: DTZ001 Excel knows no time zones
TYPED = st.one_of(TEXT, st.floats(allow_nan=False), st.integers(), st.booleans(), DATES, st.times())


@settings(max_examples=150)
@given(st.lists(ODD_ROW, min_size=1, max_size=4), st.sampled_from(["utf-8", "utf-16", "cp1252"]))
def test_odd_cells_are_problems_and_never_errors(rows: list[dict[str, str]], encoding: str) -> None:
    try:
        content = csv_of(*rows, encoding=encoding)
    except UnicodeEncodeError:
        return
    with translation.override("en"):
        assert isinstance(problems_of(content), list)


@settings(max_examples=60)
@given(st.dictionaries(st.sampled_from(list(row(phone="", email=""))), TYPED))
def test_odd_excel_cells_are_problems_and_never_errors(cells: dict[str, Any]) -> None:
    try:
        content = stored(excel_of(row(phone="", email="") | cells))
    except (ValueError, TypeError):
        return  # openpyxl can't store it
    with translation.override("en"):
        assert isinstance(problems_of(content), list)


@settings(max_examples=100)
@given(st.binary(max_size=300))
def test_odd_bytes_are_problems_and_never_errors(content: bytes) -> None:
    with translation.override("en"):
        assert read(content).problems
