"""The review queue: the payments and Stripe events that a person has to look at."""

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from ..desk.review import cases_of
from ..models import EventReceipt, Payment
from .access import Request, staff_required

MOST = 200  # payments and events shown; a longer queue comes from one fault rather than from many cases


@require_safe
@staff_required
def review_queue(request: Request) -> HttpResponse:
    """List the payments to review, longest unchanged first, and the Stripe events that couldn't be handled."""
    oldest = Payment.objects.visible_to(request.user).to_review().order_by("updated_at").values("pk")[:MOST]
    payments = Payment.objects.filter(pk__in=oldest).with_appointment().prefetch_related("facts")
    context = {
        "cases": cases_of(payments),
        "receipts": EventReceipt.objects.needing_a_person()[:MOST],
        "section": "review",
    }
    return render(request, "payments/review_queue.html", context)
