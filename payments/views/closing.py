"""Pages that close the till's day, show sealed closings, correct one, and show a month of them."""

import datetime

from django.contrib import messages
from django.http import HttpResponse, HttpResponseBase, QueryDict
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_safe

from appointments.models import FIRST_DAY, LAST_DAY
from people.unsent import typed

from ..closing_forms import ClosingForm, CorrectionForm
from ..desk import closings
from ..desk.closing_month import Month
from ..desk.closing_report import Report
from ..desk.closings import Sheet, TillChangedError, open_sheet
from ..models import Closing
from .access import Request, permission_required
from .downloads import whole

EARLIER = 8  # closings listed beside the open one


@require_http_methods(["GET", "HEAD", "POST"])
@permission_required("close_day")
def closing(request: Request) -> HttpResponseBase:
    """Show what is to be counted, then a page on which the user confirms the closing; then seal it."""
    posted = request.POST or typed(request)
    day = _day((posted or request.GET).get("day", ""))
    sheet = open_sheet(day)
    if request.method == "POST" and day and (sealed := Closing.objects.of_days().filter(day=day).first()):
        return redirect("clinic:sealed_closing", sealed.number)  # sent twice, or sealed on another screen
    form = ClosingForm(posted, sheet=sheet) if sheet.day else None
    if form is None or request.method != "POST" or "change" in request.POST:
        return _page(request, sheet, form)
    if day and (day != sheet.day or not _has_seen(request, sheet)):
        return _changed(request, sheet, form)
    if day is None or not form.is_valid():
        return _page(request, sheet, form, 422)
    if "confirmed" in request.POST:
        return _seal(request, day, form)
    context = {"form": form, "sheet": sheet, "report": form.report, "section": "closing"}
    return render(request, "payments/closing_confirm.html", context)


def _has_seen(request: Request, sheet: Sheet) -> bool:
    """Return whether the user saw all that the sheet says.

    What arrived at Stripe after the form was opened is no reason to send it again: nobody counts it, and the page that
    asks to confirm shows it.
    """
    seen = request.POST.get("seen", "")
    if "confirmed" in request.POST:
        return seen == sheet.fingerprint
    return seen.partition("-")[0] == sheet.desk_fingerprint


def _seal(request: Request, day: datetime.date, form: ClosingForm) -> HttpResponseBase:
    """Seal the closing that the valid form describes; if the till has changed meanwhile, show the form again."""
    reason, seen = form.cleaned_data["reason"], form.sheet.fingerprint
    try:
        made = closings.seal(day, form.found, form.counted, reason, request.user, seen=seen)
    except TillChangedError:
        changed = open_sheet(day)
        return _changed(request, changed, ClosingForm(request.POST, sheet=changed) if changed.day else None)
    messages.success(request, _("Closing no. %(number)s is sealed.") % {"number": made.number})
    return redirect("clinic:sealed_closing", made.number)


def _changed(request: Request, sheet: Sheet, form: ClosingForm | None) -> HttpResponse:
    words = _("The till has changed since this page was opened, so nothing was sealed. Check the sums and try again.")
    messages.warning(request, words)
    return _page(request, sheet, form, 409)


def _page(request: Request, sheet: Sheet, form: ClosingForm | None, status: int = 200) -> HttpResponse:
    earlier = [(each, Report(each.content)) for each in Closing.objects.order_by("-number")[:EARLIER]]
    context = {"sheet": sheet, "form": form, "earlier": earlier, "section": "closing"}
    return render(request, "payments/closing.html", context, status=status)


def _day(text: str) -> datetime.date | None:
    """Return the day that `text` names, or None if it names none that an appointment could have."""
    try:
        day = datetime.date.fromisoformat(text)
    except ValueError:
        return None
    return day if FIRST_DAY <= day <= LAST_DAY else None


@require_safe
@permission_required("close_day")
def sealed(request: Request, closing_number: int) -> HttpResponse:
    """Show a sealed closing, to be read and printed."""
    found = get_object_or_404(Closing.objects.select_related("sealed_by"), pk=closing_number)
    context = {
        "closing": found,
        "report": Report(found.content),
        "corrections": [(each, Report(each.content)) for each in found.corrections.all()],
        "section": "closing",
    }
    return render(request, "payments/sealed_closing.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@permission_required("close_day")
def correct(request: Request, closing_number: int) -> HttpResponseBase:
    """Show the form that corrects what was found for a sealed closing; on POST seal a closing that says so."""
    found = get_object_or_404(Closing.objects.of_days(), pk=closing_number)
    posted: QueryDict | None = request.POST or typed(request)
    form, known = CorrectionForm(posted, closing=found), found.corrections.count()
    status = 422 if request.method == "POST" else 200
    if request.method == "POST" and form.is_valid():
        seen = request.POST.get("corrections", "")
        corrections = int(seen) if seen.isdecimal() and len(seen) < 6 else -1
        try:
            made = closings.correct(
                found, form.found, form.cleaned_data["reason"], request.user, corrections=corrections
            )
        except TillChangedError:
            words = _(
                "This closing was corrected in the meantime, so nothing was sealed. Check the sums and try again."
            )
            messages.warning(request, words)
            return redirect("clinic:sealed_closing", found.number)
        messages.success(request, _("Closing no. %(number)s is sealed.") % {"number": made.number})
        return redirect("clinic:sealed_closing", made.number)
    context = {"closing": found, "form": form, "corrections": known, "section": "closing"}
    return render(request, "payments/correct_closing.html", context, status=status)


@require_safe
@permission_required("export_payments")
def month(request: Request) -> HttpResponse:
    """Show a month: totals by method and day, and how closings differed."""
    context = {"month": Month.of(request.GET.get("month", "")), "section": "closing"}
    return render(request, "payments/closing_month.html", context)


@require_safe
@permission_required("export_payments")
def export_month(request: Request) -> HttpResponseBase:
    """Return what the page about a month shows as a CSV file to download."""
    chosen = Month.of(request.GET.get("month", ""))
    return whole(chosen.csv(), f"closings-{chosen}")
