"""The front desk's pages: the day list with one appointment beside it, and the CSV export."""

from typing import Any

from django.core.paginator import Paginator
from django.http import HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from ..desk.agenda import agenda_of
from ..desk.exports import csv_lines
from ..desk.filters import CHIPS, DayFilter
from ..desk.news import newest_news
from ..desk.totals import totals
from ..forms import NoteForm
from ..models import Note, Payment
from ..models.payment import PaymentQuerySet
from ..models.search import TAB_STATUSES, Tab
from .access import Request, desk_page, open_payment_or_404, permission_required, posted_from, staff_required
from .downloads import streamed
from .sheet import filter_of, lines_of, links_of, money_context, sheet_context

ROWS = 50
MOST_IN_AGENDA = 500  # appointments; no clinic has more on one day


@require_safe
@staff_required
def day_list(request: Request) -> HttpResponse:
    """Show the day list: the appointments that match the filters in the query string, 50 a page.

    `appointment` in the query string names the appointment that is open beside the list.
    """
    reference = request.GET.get("appointment", "")
    payment = open_payment_or_404(request, appointment__reference=reference.upper()) if reference else None
    return _counter(request, DayFilter(request.GET), payment)


@require_safe
@staff_required
def appointment_detail(request: Request, reference: str) -> HttpResponse:
    """Show one appointment beside the list of its day.

    A form that htmx sent leads here: from a dialog it is answered with the sheet, so that the dialog closes.
    """
    payment = open_payment_or_404(request, appointment__reference=reference.upper())
    return _counter(request, filter_of(request, payment), payment)


def _counter(
    request: Request, chosen: DayFilter, payment: Payment | None, note: NoteForm | None = None, status: int = 200
) -> HttpResponse:
    """Render the day list with `payment` beside it, or only the part of them that htmx asks for by its target's id."""
    target = request.headers.get("HX-Target", "")
    if target in ("sheet", "dialog", "booking"):
        context = sheet_context(request, payment, chosen) if payment else links_of(chosen)
        response = render(request, "appointments/_sheet.html", context)
        if target != "sheet":
            response["HX-Retarget"], response["HX-Reswap"] = "#sheet", "outerHTML show:none"
        if target == "booking" and payment:
            response["HX-Reselect"] = "#sheet"
            response["HX-Push-Url"] = f"{context['beside']}appointment={payment.appointment.reference}"
        return response
    if payment and target.startswith(f"payment-{payment.public_id}-"):
        part = "appointments/person.html" if target.endswith("-facts") else "payments/money.html"
        return render(request, part, money_context(request, payment, chosen))
    found = chosen.narrow(Payment.objects.visible_to(request.user))
    counts, sums = found.summary()
    context = {
        "tabs": [_tab(chosen, tab, counts[tab]) for tab in Tab if tab in CHIPS or tab is chosen.tab],
        "totals": totals(found, sums) if chosen.days else [],
        "section": "desk",
        "split": True,  # the page's look
        "open": payment.pk if payment else None,  # the row that is marked
        "audience": "staff",  # for the fragments in rows, and so is "oob"
        "oob": False,
        **links_of(chosen),
    }
    if target == "tabs":
        return render(request, "appointments/_tabs.html", context | {"oob": True})
    context |= _agenda(chosen, found) if chosen.as_agenda else _page(request, chosen, found, counts[chosen.tab])
    context |= sheet_context(request, payment, chosen, note) if payment else {}
    return render(request, "appointments/day_list.html", context, status=status)


def _tab(chosen: DayFilter, tab: Tab, count: int) -> tuple[Tab, int, str]:
    """Return the tab, how many payments it shows, and the path of the list that shows them."""
    return tab, count, reverse("clinic:desk") + chosen.query(status=tab.value).removesuffix("?")


def _agenda(chosen: DayFilter, found: PaymentQuerySet) -> dict[str, Any]:
    """Return the context of the day as an agenda: the payments of the chosen tab among `found`, by practitioner."""
    payments = chosen.rows(found).with_appointment()[:MOST_IN_AGENDA]
    return {"agenda": agenda_of(payments), "today": timezone.localdate()}


def _page(request: Request, chosen: DayFilter, found: PaymentQuerySet, count: int) -> dict[str, Any]:
    """Return the context of one page of the list, whose chosen tab has `count` of the payments `found`."""
    paginator = Paginator(chosen.rows(found).values_list("pk", flat=True), ROWS)
    paginator.count = count  # known from the tabs, which saves a query
    page = paginator.get_page(request.GET.get("page"))
    # The page's keys are selected first, because the database would otherwise sort whole rows to find fifty.
    payments = list(chosen.sorted(Payment.objects.filter(pk__in=page.object_list).with_appointment()))
    today, now = timezone.localdate(), timezone.now()
    by_time = chosen.days == (today, today) and chosen.order == "time" and page.number == 1
    coming = next((each.pk for each in payments if each.appointment.start > now), None)
    return {
        "page": page,
        "beside": links_of(chosen)["beside"] + (f"page={page.number}&" if page.number > 1 else ""),
        "payments": payments,
        "pages": paginator.get_elided_page_range(page.number, on_each_side=2, on_ends=1),
        "statuses": " ".join(TAB_STATUSES.get(chosen.tab, ())),
        "review": chosen.tab is Tab.TO_REVIEW,
        "today": today,
        "now": now,
        "now_before": coming if by_time else None,  # the row over which a line shows what time it is
    }


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
    valid = form.is_valid()
    if valid:
        fields = {"payment": payment, "author": request.user, "text": form.cleaned_data["text"]}
        Note.objects.get_or_create(key=form.cleaned_data["key"], defaults=fields)
    if request.headers.get("HX-Target") == f"payment-{payment.public_id}-notes":
        context = {
            "payment": payment,
            "appointment": payment.appointment,
            "notes": payment.notes.select_related("author"),
            "form": NoteForm() if valid else form,
        }
        return render(request, "payments/_notes.html", context, status=200 if valid else 422)
    if not valid:
        return _counter(request, filter_of(request, payment), payment, form, 422)
    return redirect(f"{reverse('clinic:desk_appointment', args=[payment.appointment.reference])}#notes-title")


@require_safe
@never_cache
@staff_required
def movements(request: Request, reference: str) -> HttpResponse:
    """Render only the list of the payment's movements of money; open pages fetch it when the payment has changed."""
    payment = open_payment_or_404(request, appointment__reference=reference.upper())
    return render(request, "payments/_movements.html", {"payment": payment, "lines": lines_of(request, payment)})


@require_safe
@never_cache
@staff_required
def news(request: Request) -> HttpResponse:
    """Render only the newest news and the count of payments to review, for open pages to fetch when there is news."""
    return render(request, "payments/news.html", {"news": newest_news(getattr(request, "live_cursor", 0))})


@require_safe
@permission_required("export_payments")
def export(request: Request) -> HttpResponseBase:
    """Return all payments that match the day list's current filters as a CSV file to download.

    Answer 400 with the reasons if an amount in the filters is invalid.
    """
    chosen = DayFilter(request.GET)
    if chosen.amount_errors:
        return HttpResponse(" ".join(chosen.amount_errors), status=400, content_type="text/plain; charset=utf-8")
    rows = chosen.rows(chosen.narrow(Payment.objects.visible_to(request.user))).with_appointment()
    return streamed(csv_lines(rows), f"payments{chosen.days_in_name}")
