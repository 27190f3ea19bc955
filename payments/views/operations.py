"""The operations board: how the site does, in figures that keep themselves current."""

from django.contrib.auth.decorators import permission_required
from django.http import HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from ..dashboard import figures
from ..dashboard.charts import Bars, Ranges
from .access import Request, staff_required

SPANS = (14, 30)  # days


@require_safe
@never_cache
@staff_required
@permission_required("clinic_payments.view_operations", raise_exception=True)
def board(request: Request) -> HttpResponse:
    """The page; the figures alone when they ask for themselves, or 204 when they are shown already."""
    asked = request.GET.get("days", "")
    days = int(asked) if asked in map(str, SPANS) else SPANS[0]
    found = figures.board(days)
    asks_itself = request.headers.get("HX-Target") == "board"
    if asks_itself and request.GET.get("shown") == found.fingerprint:
        return HttpResponse(status=204)
    context = {
        "board": found,
        "payments": Bars(found.days, found.payments),
        "events": Bars(found.days, found.events),
        "latency": Ranges(found.legs),
        "days": days,
        "spans": SPANS,
        "paused": "pause" in request.GET,
        "oob": asks_itself,
        "now": timezone.now(),
        "section": "operations",
    }
    return render(request, "payments/_operations.html" if asks_itself else "payments/operations.html", context)
