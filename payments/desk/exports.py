"""Writes the day list (the front desk's list of appointments and payments) as CSV for spreadsheets."""

import csv
from collections.abc import AsyncIterator, Iterator

from django.utils.timezone import localtime
from django.utils.translation import get_language, override
from django.utils.translation import gettext as _

from appointments.money import number_text

from ..domain.methods import method_label
from ..models import Payment
from ..models.payment import PaymentQuerySet

BATCH = 500  # rows read from the database at once
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # https://owasp.org/www-community/attacks/CSV_Injection
BYTE_ORDER_MARK = "\ufeff"  # without it Excel doesn't read the file as UTF-8


class Echo:
    """A file object whose `write` returns the text instead of storing it, so that csv.writer can stream lines."""

    def write(self, line: str) -> str:
        return line


def headings() -> list[str]:
    """Return the translated column headings, in the order of `cells`."""
    amounts = [_("Due"), _("Received"), _("Refunded"), _("Lost to disputes")]
    return [_("Reference"), _("Start"), _("Patient"), _("Practitioner"), _("Service"), _("Attendance"), _("Payment"),
            _("Currency"), *amounts, _("Paid with"), _("To review")]  # fmt: skip


def cells(payment: Payment) -> Iterator[str]:
    """Yield the cells of the line for `payment`, in the order of `headings`."""
    appointment, patient = payment.appointment, payment.appointment.patient
    yield appointment.reference
    yield localtime(appointment.start).strftime("%Y-%m-%d %H:%M")
    yield patient.get_full_name() or patient.get_username()
    yield appointment.practitioner.name
    yield appointment.service
    yield appointment.get_status_display()
    yield payment.get_status_display()
    yield payment.currency.upper()
    for amount in ("due", "received", "refunded", "lost"):
        yield number_text(getattr(payment, f"amount_{amount}"), payment.currency)
    yield method_label(payment.method)
    yield ", ".join(payment.review_labels)


def escape_formula(cell: str) -> str:
    """Return `cell` with an apostrophe in front if a spreadsheet would run it as a formula."""
    return f"'{cell}" if cell.startswith(FORMULA) else cell


async def csv_lines(payments: PaymentQuerySet) -> AsyncIterator[str]:
    """Yield the CSV file's lines: the headings, then one line for each payment, in the active language.

    Spreadsheets expect commas between cells and decimal points in English, but semicolons and decimal commas in French.
    """
    language = get_language()
    writer = csv.writer(Echo(), delimiter="," if (language or "en").startswith("en") else ";")
    yield BYTE_ORDER_MARK + writer.writerow(headings())
    async for payment in payments.aiterator(chunk_size=BATCH):
        with override(language):
            row = [escape_formula(cell) for cell in cells(payment)]
        yield writer.writerow(row)
