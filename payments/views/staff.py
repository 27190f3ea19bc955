"""The front desk: the day's appointments, and one of them with all that happened to its payment."""

from django.core.paginator import Paginator
from django.http import HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from ..forms import DayFilter
from ..models import Payment
from ..models.search import TAB_STATUSES, Tab
from .access import Request, payment_or_404, staff_required

ROWS = 50


@require_safe
@staff_required
def day_list(request: Request) -> HttpResponse:
    chosen = DayFilter(request.GET)
    found = chosen.narrow(Payment.objects.visible_to(request.user))
    counts = found.tab_counts()
    paginator = Paginator(chosen.rows(found).with_appointment(), ROWS)
    paginator.count = counts[chosen.tab]  # counted already
    context = {
        "filter": chosen,
        "tabs": [(tab, counts[tab], chosen.query(status=None if tab is Tab.ALL else tab.value)) for tab in Tab],
        "page": paginator.get_page(request.GET.get("page")),
        "statuses": " ".join(TAB_STATUSES.get(chosen.tab, ())),
        "today": timezone.localdate(),
        "section": "desk",
    }
    return render(request, "appointments/day_list.html", context)


@require_safe
@staff_required
def appointment_detail(request: Request, reference: str) -> HttpResponse:
    payment = payment_or_404(request, appointment__reference=reference.upper())
    return render(request, "appointments/desk_detail.html", {"payment": payment, "appointment": payment.appointment})
