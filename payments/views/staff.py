"""The front desk's pages: the day list, one appointment with its payment's timeline, and the CSV export."""

from collections.abc import AsyncIterator

from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.db.models import prefetch_related_objects
from django.http import HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from accounts.unsent import typed

from ..desk import till
from ..desk.exports import csv_lines, journal_lines, to_the_end
from ..desk.filters import DayFilter
from ..desk.journal import Line, all_lines_of
from ..forms import NoteForm
from ..models import Note, Payment
from ..models.search import TAB_STATUSES, Tab
from .access import Request, desk_page, open_payment_or_404, posted_from, staff_required
from .events import events_of

ROWS = 50


@require_safe
@staff_required
def day_list(request: Request) -> HttpResponse:
    """Show the day list: the appointments that match the filters in the query string, 50 a page.

    When htmx asks for the tabs, because a payment has changed, render only the tabs with their counts.
    """
    chosen = DayFilter(request.GET)
    found = chosen.narrow(Payment.objects.visible_to(request.user))
    counts = found.tab_counts()
    tabs = [(tab, counts[tab], chosen.query(status=None if tab is Tab.ALL else tab.value)) for tab in Tab]
    context = {"filter": chosen, "tabs": tabs, "section": "desk"}
    if request.headers.get("HX-Target") == "tabs":
        return render(request, "appointments/_tabs.html", context)
    paginator = Paginator(chosen.rows(found).values_list("pk", flat=True), ROWS)
    paginator.count = counts[chosen.tab]  # known from the tabs, which saves a query
    page = paginator.get_page(request.GET.get("page"))
    context |= {
        "page": page,
        # The page's keys are selected first, because the database would otherwise sort whole rows to find fifty.
        "payments": chosen.sorted(Payment.objects.filter(pk__in=page.object_list).with_appointment()),
        "pages": paginator.get_elided_page_range(page.number, on_each_side=2, on_ends=1),
        "statuses": " ".join(TAB_STATUSES.get(chosen.tab, ())),
        "review": chosen.tab is Tab.TO_REVIEW,
        "today": timezone.localdate(),
    }
    return render(request, "appointments/day_list.html", context)


@require_safe
@staff_required
def appointment_detail(request: Request, reference: str) -> HttpResponse:
    """Show one appointment with its payment, timeline, Stripe events and the form for a note."""
    payment = open_payment_or_404(request, appointment__reference=reference.upper())
    return _detail(request, payment, NoteForm(initial=typed(request, reverse("clinic:add_note", args=[reference]))))


@require_safe
@never_cache
@staff_required
def timeline(request: Request, reference: str) -> HttpResponse:
    """Render only the payment's timeline, for open pages to fetch when the payment has changed."""
    payment = open_payment_or_404(request, appointment__reference=reference.upper())
    return render(request, "payments/timeline.html", {"payment": payment})


@require_http_methods(["GET", "HEAD", "POST"])
@staff_required
@posted_from(desk_page)
def add_note(request: Request, reference: str) -> HttpResponseBase:
    """Save a note on the payment. A form that is sent twice, as by a double click, saves one note."""
    payment = open_payment_or_404(request, appointment__reference=reference.upper())
    form = NoteForm(request.POST)
    if not form.is_valid():
        return _detail(request, payment, form, status=422)
    fields = {"payment": payment, "author": request.user, "text": form.cleaned_data["text"]}
    Note.objects.get_or_create(key=form.cleaned_data["key"], defaults=fields)
    return redirect(f"{reverse('clinic:desk_appointment', args=[payment.appointment.reference])}#timeline-title")


@require_safe
@never_cache
@staff_required
def movements(request: Request, reference: str) -> HttpResponse:
    """Render only the list of the payment's movements of money; open pages fetch it when the payment has changed."""
    payment = open_payment_or_404(request, appointment__reference=reference.upper())
    return render(request, "payments/_movements.html", {"payment": payment, "lines": _lines(request, payment)})


def _lines(request: Request, payment: Payment) -> list[tuple[Line, bool]]:
    """Return the payment's lines (movements of money), each with whether the user may declare it a mistake."""
    prefetch_related_objects([payment], "facts__actor")
    mistakes = {entry.pk for entry in till.entries_of(payment) if till.may_reverse(entry, request.user)}
    return [(line, line.fact.pk in mistakes) for line in all_lines_of(payment)]


def _detail(request: Request, payment: Payment, form: NoteForm, status: int = 200) -> HttpResponse:
    context = {"payment": payment, "appointment": payment.appointment, "events": events_of(payment), "form": form}
    context["lines"] = _lines(request, payment)
    return render(request, "appointments/desk_detail.html", context, status=status)


@require_safe
@staff_required
def export(request: Request) -> HttpResponseBase:
    """Return all payments that match the day list's current filters as a CSV file to download.

    Answer 400 with the reasons if an amount in the filters is invalid.
    """
    _require_export(request)
    chosen = DayFilter(request.GET)
    if chosen.amount_errors:
        return HttpResponse(" ".join(chosen.amount_errors), status=400, content_type="text/plain; charset=utf-8")
    rows = chosen.rows(chosen.narrow(Payment.objects.visible_to(request.user))).with_appointment()
    return _download(csv_lines(rows), f"payments{chosen.days_in_name}")


@require_safe
@staff_required
def export_journal(request: Request) -> HttpResponseBase:
    """Return a CSV file of the money that moved on the days that the day list shows."""
    _require_export(request)
    chosen = DayFilter(request.GET)
    payments = Payment.objects.visible_to(request.user)
    return _download(journal_lines(payments, chosen.days), f"journal{chosen.days_in_name}")


def _require_export(request: Request) -> None:
    if not request.user.has_perm("clinic_payments.export_payments"):
        raise PermissionDenied


def _download(lines: AsyncIterator[str], name: str) -> StreamingHttpResponse:
    response = StreamingHttpResponse(to_the_end(lines), content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="{name}.csv"'
    return response
