"""Calendars that a calendar program fetches by itself, and the pages that make and end their addresses."""

import hashlib
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, render
from django.utils.cache import get_conditional_response
from django.utils.translation import gettext as _
from django.utils.translation import override
from django.views.decorators.http import require_http_methods, require_safe

from appointments.calendar import Entry, to_ics
from appointments.models import Practitioner
from payments.addresses import absolute
from payments.models import Payment
from payments.views.access import staff_required
from people.models import PatientFields
from people.names import name_of

from ..conf import app_settings
from ..models import CalendarLink
from ..models.calendar_link import window


class SignedIn(HttpRequest):
    """An HttpRequest whose `user` is signed in; only type annotations use this class."""

    user: PatientFields  # type: ignore[assignment]


@require_safe
def calendar_file(request: HttpRequest, token: str) -> HttpResponseBase:
    """Return the appointments of the address's owner as an iCalendar file, or 304 if the program has the newest one."""
    try:
        link = CalendarLink.objects.find(token)
    except CalendarLink.DoesNotExist:
        raise Http404 from None
    first, last = window()
    payments = Payment.objects.filter(appointment__start__range=(first, last), **link.owner_filter)
    language = link.patient.preferred_language if link.patient else ""
    with override(language or settings.LANGUAGE_CODE):
        entries = [_entry(each, link) for each in payments.with_appointment().order_by("appointment__start", "pk")]
    where = ", ".join(filter(None, (app_settings.CLINIC_NAME, app_settings.CLINIC_ADDRESS)))
    content = to_ics(entries, where=where, host=urlsplit(app_settings.CLINIC_SITE_URL).netloc)
    etag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    response = HttpResponse(content, content_type="text/calendar; charset=utf-8", headers={"ETag": etag})
    return get_conditional_response(request, etag=etag, response=response) or response


def _entry(payment: Payment, link: CalendarLink) -> Entry:
    """Return the calendar's entry. The payment's version counts the changes of its appointment, among others."""
    appointment = payment.appointment
    title = _("Appointment %(reference)s") % {"reference": appointment.reference}
    if link.names:
        title = f"{name_of(appointment.patient)}, {appointment.service}"
    return Entry(appointment, title, payment.version, payment.updated_at)


def _address(token: str) -> str:
    return absolute("integrations:calendar_file", token)


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def own_calendar(request: SignedIn) -> HttpResponse:
    """Show a patient whether their appointments have an address; on POST make one, shown once, or end it."""
    if request.user.is_staff:
        raise PermissionDenied
    address = _act(request, request.user)
    link = CalendarLink.objects.valid().filter(patient=request.user).first()  # type: ignore[misc]
    return render(request, "integrations/own_calendar.html", {"link": link, "address": address})


@require_http_methods(["GET", "HEAD", "POST"])
@staff_required
def calendars(request: SignedIn) -> HttpResponse:
    """List the practitioners with the addresses of their calendars; on POST make one, shown once, or end it."""
    if not request.user.has_perm("clinic_appointments.change_practitioner"):
        raise PermissionDenied
    chosen, address = None, ""
    if request.method == "POST":
        key = request.POST.get("practitioner", "")
        if not (key.isascii() and key.isdecimal()):
            raise Http404
        chosen = get_object_or_404(Practitioner, pk=int(key[:18]), active=True)
        address = _act(request, chosen)
    links = {link.practitioner_id: link for link in CalendarLink.objects.valid().exclude(practitioner=None)}
    rows = [(each, links.get(each.pk)) for each in Practitioner.objects.filter(active=True)]
    return render(request, "integrations/calendars.html", {"rows": rows, "chosen": chosen, "address": address})


def _act(request: SignedIn, owner: PatientFields | Practitioner) -> str:
    """Do what the posted button says, and return the new address if one was made."""
    if request.POST.get("act") == "end":
        CalendarLink.objects.end(owner, request.user)
    if request.POST.get("act") == "make":
        names = isinstance(owner, Practitioner) and "names" in request.POST
        return _address(CalendarLink.objects.make(owner, request.user, names=names))
    return ""
