"""Writes CSV files for spreadsheets: the day list of appointments and payments, and the journal of money that moved."""

import csv
import logging
import unicodedata
from collections.abc import AsyncIterator, Iterable, Iterator
from itertools import islice, zip_longest
from typing import Any

from django.utils.timezone import localtime
from django.utils.translation import get_language, override, pgettext
from django.utils.translation import gettext as _

from appointments.money import number_text
from people.names import name_of

from ..domain.methods import method_label
from ..models import JournalLine, Payment
from ..models.journal_line import JournalLineQuerySet
from ..models.payment import PaymentQuerySet
from .journal import line_from
from .transfers import AtStripe, lines_at_stripe

logger = logging.getLogger(__name__)

BATCH = 500  # rows read from the database at once
FORMULA = ("=", "+", "-", "@")  # https://owasp.org/www-community/attacks/CSV_Injection
BYTE_ORDER_MARK = "\ufeff"  # without it Excel doesn't read the file as UTF-8


class Echo:
    """A file object whose `write` returns the text instead of storing it, so that csv.writer can stream lines."""

    def write(self, line: str) -> str:
        return line


def headings() -> list[str]:
    """Return the translated column headings, in the order of `cells`."""
    amounts = [
        _("Due"),
        _("Received"),
        _("Refunded"),
        _("Taken back by the bank"),
        _("No longer owed"),
        _("On its way"),
        _("Still owed"),
        _("Overpaid"),
    ]
    return [_("Reference"), _("Start"), _("Patient"), _("Practitioner"), _("Service"), _("Attendance"), _("Payment"),
            _("Currency"), *amounts, _("Last paid with"), _("To review")]  # fmt: skip


def cells(payment: Payment) -> Iterator[str]:
    """Yield the cells of the line for `payment`, in the order of `headings`."""
    appointment, patient = payment.appointment, payment.appointment.patient
    yield appointment.reference
    yield localtime(appointment.start).strftime("%Y-%m-%d %H:%M")
    yield name_of(patient)
    yield appointment.practitioner.name
    yield appointment.service
    yield appointment.get_status_display()
    yield payment.get_status_display()
    yield payment.currency.upper()
    for amount in ("due", "received", "refunded", "lost", "waived", "on_its_way", "owed", "overpaid"):
        yield number_text(getattr(payment, f"amount_{amount}"), payment.currency)
    yield method_label(payment.method)
    yield ", ".join(payment.review_labels)


class Number(str):
    """A cell that spreadsheets should read as a number, even if it is negative."""


def escape_formula(cell: str) -> str:
    """Return `cell` with an apostrophe in front if a spreadsheet may run it as a formula.

    Some spreadsheets skip white space first, and read full-width signs, which Japanese keyboards type, as plain ones.
    """
    begins = unicodedata.normalize("NFKC", cell.lstrip()[:1])
    return f"'{cell}" if begins.startswith(FORMULA) or cell.startswith(("\t", "\r", "\n")) else cell


def journal_headings(*, at_stripe: bool) -> list[str]:
    """Return the translated column headings, in the order of `journal_cells` and, if `at_stripe`, of `stripe_cells`."""
    when, what = [_("Day"), _("Time"), _("Reference"), _("Patient")], [_("Movement"), _("Method"), _("Amount")]
    ids = [_("Stripe object"), _("Stripe payment"), _("Stripe charge")]
    part = [_("Fee"), _("Net at Stripe"), _("Currency at Stripe"), _("Transfer")] if at_stripe else []
    who = [_("Currency"), _("By"), _("Deposited at the bank on"), pgettext("of staff", "Note")]
    return [*when, *what, *who, *ids, *part]


def stripe_cells(found: AtStripe | None) -> list[str]:
    """Return the cells for what became of a line's money at Stripe; they are empty if that isn't known."""
    if found is None:
        return ["", "", "", ""]
    amounts = (signed_number(amount, found.currency) for amount in (found.fee, found.net))
    return [*amounts, found.currency.upper(), ", ".join(found.payout_ids)]


def signed_number(amount: int, currency: str) -> Number:
    """Return the amount, in minor units, as a cell that spreadsheets read as a number."""
    text = number_text(abs(amount), currency)
    return Number(f"-{text}" if amount < 0 else text)


def journal_cells(row: JournalLine) -> list[str]:
    """Return the cells for `row`, one movement of money, in the order of `journal_headings`."""
    line, appointment = line_from(row), row.payment.appointment
    when = localtime(line.when)
    return [
        when.strftime("%Y-%m-%d"),
        when.strftime("%H:%M"),
        appointment.reference,
        name_of(appointment.patient),
        str(line.movement.kind.label),
        method_label(row.method),
        signed_number(row.amount, row.currency),
        row.currency.upper(),
        name_of(line.actor) if line.actor else "",
        line.deposited.isoformat() if line.deposited else "",
        line.note,
        line.stripe_id,
        line.fact.payment_intent_id,
        line.fact.charge_id,
    ]


def escaped(cells: list[str]) -> list[str]:
    """Return the cells, each escaped if a spreadsheet would run it as a formula."""
    return [cell if isinstance(cell, Number) else escape_formula(cell) for cell in cells]


class Table:
    """Writes lines of CSV in the language that is active when it is made.

    Spreadsheets expect commas between cells and decimal points in English, but semicolons and decimal commas in French.
    """

    def __init__(self) -> None:
        self.language = get_language()
        delimiter = "," if (self.language or "en").startswith("en") else ";"
        self._writer: Any = csv.writer(Echo(), delimiter=delimiter)

    def line(self, cells: list[str]) -> str:
        return str(self._writer.writerow(escaped(cells)))


async def to_the_end(lines: AsyncIterator[str]) -> AsyncIterator[str]:
    """Yield `lines` or, if one of them can't be made, log the error and end with a line that says so.

    The response has begun by then. If the error were raised, daphne would neither end nor close the response.
    """
    language = get_language()
    try:
        async for line in lines:
            yield line
    except Exception:
        logger.exception("csv_export_failed")
        with override(language):
            yield _("THIS FILE IS INCOMPLETE, because an error occurred. Download it again.") + "\r\n"


async def csv_lines(payments: PaymentQuerySet) -> AsyncIterator[str]:
    """Yield the day list's lines: the headings, then one line for each payment, in the active language."""
    table = Table()
    yield BYTE_ORDER_MARK + table.line(headings())
    async for payment in payments.aiterator(chunk_size=BATCH):
        with override(table.language):
            yield table.line(list(cells(payment)))


def journal_lines(rows: JournalLineQuerySet, *, at_stripe: bool) -> Iterator[str]:
    """Yield the journal's lines: the headings, then one line for each movement of money, in the active language.

    If `at_stripe`, each line says what became of the money at Stripe.
    """
    table = Table()
    yield BYTE_ORDER_MARK + table.line(journal_headings(at_stripe=at_stripe))
    for batch in batches(rows.iterator(chunk_size=BATCH)):
        found = lines_at_stripe(batch) if at_stripe else ()
        for row, part in zip_longest(batch, found):
            yield table.line([*journal_cells(row), *(stripe_cells(part) if at_stripe else ())])


def batches(rows: Iterable[JournalLine]) -> Iterator[list[JournalLine]]:
    """Yield the rows in lists of at most BATCH."""
    remaining = iter(rows)
    while batch := list(islice(remaining, BATCH)):
        yield batch
