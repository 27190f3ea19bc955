"""The operations board: a page with figures about payments and Stripe events, which updates itself."""

from django.http import HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from ..dashboard import figures
from ..dashboard.charts import Bars, Ranges
from .access import Request, permission_required

SPANS = (14, 30)  # days


@require_safe
@never_cache
@permission_required("view_operations")
def operations(request: Request) -> HttpResponse:
    """Show the operations board with figures of the last 14 or 30 days.

    When the page polls, render only the figures, or answer 204 if the page already shows them.
    """
    asked = request.GET.get("days", "")
    days = int(asked) if asked in map(str, SPANS) else SPANS[0]
    board = figures.board(days)
    polled = request.headers.get("HX-Target") == "board"
    if polled and request.GET.get("shown") == board.fingerprint:
        return HttpResponse(status=204)
    context = {
        "board": board,
        "payments": Bars(board.days, board.payments),
        "events": Bars(board.days, board.events),
        "latency": Ranges(board.legs),
        "days": days,
        "spans": SPANS,
        "paused": "pause" in request.GET,
        "oob": polled,
        "now": timezone.now(),
        "section": "operations",
    }
    return render(request, "payments/_operations.html" if polled else "payments/operations.html", context)
