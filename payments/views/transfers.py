"""The pages about transfers: the payouts from Stripe to the bank, and the lines that each is made of."""

from django.core.paginator import Paginator
from django.http import Http404, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.views.decorators.http import require_safe

from ..desk.transfer_filter import TransferFilter
from ..desk.transfer_lines import transfer_lines
from ..desk.transfers import contents_words, may_still_fail, status_words, transfer_of
from ..gateway.balance import Payout, payouts, payouts_by_id
from .access import Request, permission_required
from .downloads import refused, streamed

ROWS = 50  # transfers on a page
TONES = {"paid": "paid", "failed": "failed", "canceled": "void"}  # the payment status whose colors a transfer has
LINES = 200  # lines of a transfer on a page
MOST = 1000  # transfers in one file: more than two years of them


@require_safe
@permission_required("view_transfers")
def transfers(request: Request) -> HttpResponse:
    """List the transfers that match the filters in the query string, 50 a page, the latest first."""
    chosen = TransferFilter(request.GET)
    page = Paginator(chosen.rows, ROWS).get_page(request.GET.get("page"))
    context = {
        "filter": chosen,
        "page": page,
        "pages": page.paginator.get_elided_page_range(page.number, on_each_side=2, on_ends=1),
        "rows": [
            (payout, status_words(payout), contents_words(payout), tone_of(payout))
            for payout in payouts(page.object_list)
        ],
        "section": "transfers",
    }
    return render(request, "payments/transfers.html", context)


@require_safe
@permission_required("view_transfers")
def transfer(request: Request, payout_id: str) -> HttpResponse:
    """Show what is in one transfer, 200 lines a page; the sums are those of all lines."""
    payout = _payout_or_404(payout_id)
    found = transfer_of(payout)
    page = Paginator(found.lines, LINES).get_page(request.GET.get("page"))
    context = {
        "payout": payout,
        "status": status_words(payout),
        "tone": tone_of(payout),
        "unknown": contents_words(payout),
        "may_still_fail": may_still_fail(payout),
        "transfer": found,
        "page": page,
        "pages": page.paginator.get_elided_page_range(page.number, on_each_side=2, on_ends=1),
        "section": "transfers",
    }
    return render(request, "payments/transfer.html", context)


def tone_of(payout: Payout) -> str:
    return TONES.get(payout.status, "processing")


def _payout_or_404(payout_id: str) -> Payout:
    payout = payouts_by_id([payout_id]).get(payout_id)
    if payout is None:
        raise Http404
    return payout


@require_safe
@permission_required("view_transfers")
def export_transfers(request: Request) -> HttpResponseBase:
    """Return the lines of all transfers that match the filters in the query string as a CSV file to download.

    Answer 400 with the reasons if a filter is invalid.
    """
    chosen = TransferFilter(request.GET)
    if chosen.errors:
        return refused(chosen)
    return streamed(transfer_lines(payouts(chosen.rows[:MOST])), chosen.file_name)


@require_safe
@permission_required("view_transfers")
def export_transfer(request: Request, payout_id: str) -> HttpResponseBase:
    """Return the lines of one transfer as a CSV file to download."""
    payout = _payout_or_404(payout_id)
    return streamed(transfer_lines([payout]), f"transfer-{payout.arrival}-{payout.stripe_id}")
