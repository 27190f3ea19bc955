"""Write the day list as CSV for spreadsheets."""

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
BYTE_ORDER_MARK = "\ufeff"  # Excel reads UTF-8 only with it


class Echo:
    """A file for csv.writer that returns each line instead of storing it, so that lines can be streamed."""

    def write(self, line: str) -> str:
        return line


def headings() -> list[str]:
    """Return the first line's cells, in the order of `cells`."""
    amounts = [_("Due"), _("Received"), _("Refunded"), _("Lost to disputes")]
    return [_("Reference"), _("Start"), _("Patient"), _("Practitioner"), _("Service"), _("Attendance"), _("Payment"),
            _("Currency"), *amounts, _("Paid with"), _("To review")]  # fmt: skip


def cells(payment: Payment) -> Iterator[str]:
    """Yield the payment's line, in the order of `headings`."""
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
    """Return `cell` with a quote before it if a spreadsheet would run it as a formula."""
    return f"'{cell}" if cell.startswith(FORMULA) else cell


async def csv_lines(payments: PaymentQuerySet) -> AsyncIterator[str]:
    """Yield a heading and a line for each payment, with the separators that spreadsheets of the active language expect.

    English has commas and decimal points, French semicolons and decimal commas.
    """
    language = get_language()
    writer = csv.writer(Echo(), delimiter="," if (language or "en").startswith("en") else ";")
    yield BYTE_ORDER_MARK + writer.writerow(headings())
    async for payment in payments.aiterator(chunk_size=BATCH):
        with override(language):
            row = [escape_formula(cell) for cell in cells(payment)]
        yield writer.writerow(row)
