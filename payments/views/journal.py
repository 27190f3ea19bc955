"""The journal: all movements of money by the date of the money, as a page and as a CSV file."""

from collections.abc import Sequence

from django.core.paginator import Paginator
from django.http import HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.views.decorators.http import require_safe

from ..desk.exports import journal_lines
from ..desk.journal import line_from
from ..desk.journal_filter import JournalFilter
from ..desk.transfers import AtStripe, lines_at_stripe
from ..domain.tally import totals
from ..models import JournalLine
from .access import Request, permission_required
from .downloads import refused, whole

ROWS = 50
VIEW_TRANSFERS = "clinic_payments.view_transfers"


@require_safe
@permission_required("export_payments")
def journal(request: Request) -> HttpResponse:
    """Show the movements of money that match the filters in the query string, 50 a page, and their sums."""
    chosen = JournalFilter(request.GET)
    tallies = chosen.tallies
    paginator = Paginator(chosen.rows, ROWS)
    paginator.count = sum(each.count for each in tallies)  # known from the sums, which saves a query
    page = paginator.get_page(request.GET.get("page"))
    rows = list(page.object_list)
    context = {
        "filter": chosen,
        "page": page,
        "lines": [
            (row.payment.appointment, line_from(row), at_stripe)
            for row, at_stripe in zip(rows, at_stripe_for(request, rows), strict=True)
        ],
        "pages": paginator.get_elided_page_range(page.number, on_each_side=2, on_ends=1),
        "sums": [(total, [each for each in tallies if each.currency == total.currency]) for total in totals(tallies)],
        "section": "closing",
    }
    return render(request, "payments/journal.html", context)


@require_safe
@permission_required("export_payments")
def export_journal(request: Request) -> HttpResponseBase:
    """Return a CSV file with all movements of money that match the filters in the query string.

    Answer 400 with the reasons if a filter is invalid.
    """
    chosen = JournalFilter(request.GET)
    if chosen.errors:
        return refused(chosen)
    return whole(journal_lines(chosen.rows, at_stripe=request.user.has_perm(VIEW_TRANSFERS)), chosen.name)


def at_stripe_for(request: Request, rows: Sequence[JournalLine]) -> Sequence[AtStripe | None]:
    """Return what became of each line's money at Stripe, as far as it is known and the user may see transfers."""
    return lines_at_stripe(rows) if request.user.has_perm(VIEW_TRANSFERS) else [None] * len(rows)
