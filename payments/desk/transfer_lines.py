"""The lines of transfers from Stripe to the bank as a CSV file."""

from collections.abc import AsyncIterator, Sequence

from asgiref.sync import sync_to_async
from django.utils.timezone import localtime
from django.utils.translation import gettext as _
from django.utils.translation import override

from people.names import name_of

from ..gateway.balance import Payout
from .exports import BYTE_ORDER_MARK, Table, signed_number
from .transfers import Line, Transfer, contents_words, status_words, transfer_of


def headings() -> list[str]:
    """Return the translated column headings, in the order of `_cells`."""
    transfer = [_("Arrives on"), _("Transfer"), _("Status"), _("Transferred")]
    line = [_("Day"), _("Kind"), _("Reference"), _("Patient"), _("Gross"), _("Fee"), _("Net"), _("Currency")]
    return [*transfer, *line, _("Stripe object"), _("Balance transaction")]


def _cells(transfer: Transfer, line: Line | None) -> list[str]:
    """Return the cells for one line of the transfer or, if None, for a transfer whose contents aren't known."""
    payout = transfer.payout
    about = [
        payout.arrival.isoformat(),
        payout.stripe_id,
        status_words(payout),
        signed_number(payout.amount, payout.currency),
    ]
    if line is None:
        return [*about, "", contents_words(payout), "", "", "", "", "", payout.currency.upper(), "", ""]
    appointment = line.payment.appointment if line.payment else None
    return [
        *about,
        localtime(line.when).strftime("%Y-%m-%d") if line.when else "",
        line.label,
        appointment.reference if appointment else "",
        name_of(appointment.patient) if appointment else "",
        *(signed_number(amount, line.currency) for amount in (line.gross, line.fee, line.net)),
        line.currency.upper(),
        line.row.source_id if line.row else "",
        line.row.stripe_id if line.row else "",
    ]


async def transfer_lines(payouts: Sequence[Payout]) -> AsyncIterator[str]:
    """Yield the file's lines in the active language: the headings, then one for each line of these payouts.

    A payout whose contents aren't known has one line, which says why.
    """
    table = Table()
    yield BYTE_ORDER_MARK + table.line(headings())
    for payout in payouts:
        for line in await sync_to_async(_table_lines)(table, payout):
            yield line


def _table_lines(table: Table, payout: Payout) -> list[str]:
    with override(table.language):
        transfer = transfer_of(payout)
        lines: list[Line | None] = [*transfer.lines] or [None]
        return [table.line(_cells(transfer, line)) for line in lines]
