"""Pages on which the front desk books an appointment and changes one."""

import datetime
import uuid
from collections.abc import Sequence
from copy import copy
from typing import Any

from django.contrib import messages
from django.contrib.auth import get_user_model
from django.http import HttpResponse, HttpResponseBase, QueryDict
from django.shortcuts import redirect, render
from django.utils import formats, timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from appointments import booking
from appointments.booking_forms import BookingForm, ChangeForm, PatientForm, VisitForm, as_newcomer, terms_of
from appointments.models import Appointment, Service
from people.models import PatientFields, new_username
from people.names import name_of
from people.unsent import typed

from ..desk.new_terms import consequence_of
from .access import Request, open_payment_or_404, staff_required

MATCHES = 8  # patients shown while somebody types
PREPARED = ("practitioner", "day", "time", "patient")  # what a link to the form may fill in


@require_http_methods(["GET", "HEAD", "POST"])
@staff_required
def book(request: Request) -> HttpResponseBase:
    """Show the form for a new appointment. A POST with `book` books it, any other POST shows the form filled further.

    Such a POST comes from the form itself: when somebody searches, chooses or enters a patient, or chooses a service.
    """
    posted = request.POST or typed(request) or QueryDict()
    if "book" in request.POST:
        return _book(request)
    values = _filled_further(posted) if posted else {name: request.GET.get(name, "") for name in PREPARED}
    form = BookingForm(initial={name: value for name, value in values.items() if value != ""})
    newcomer = PatientForm(initial=values) if values.get("new") else None
    if posted.get("new") == "first" and newcomer:
        newcomer.fields["first_name"].widget.attrs["autofocus"] = True
    elif "pick" in posted:
        form.fields["practitioner"].widget.attrs["autofocus"] = True
    return _booking_page(request, form, newcomer, values)


def _filled_further(posted: QueryDict) -> dict[str, Any]:
    """Return the posted values, with those that follow from the button or the choice that sent the form."""
    values: dict[str, Any] = posted.dict()
    if posted.get("pick"):
        values |= {"patient": posted["pick"], "new": "", "q": ""}
    if posted.get("new") == "first":
        values |= as_newcomer(posted.get("q", ""))
    if "someone_else" in posted:
        values |= {"patient": "", "new": ""}
    if "at" in posted:
        values["time"] = posted["at"]
    if posted.get("service", "") != posted.get("filled_for", ""):
        values |= _terms(posted.get("service", ""))
    values["filled_for"] = posted.get("service", "")
    return values


def _terms(key: str) -> dict[str, Any]:
    service = Service.objects.filter(pk=key, active=True).first() if key.isdecimal() else None
    return terms_of(service) if service else {}


def _book(request: Request) -> HttpResponseBase:
    """Book the posted appointment, or show the form again with what is wrong or has to be confirmed."""
    form = BookingForm(request.POST)
    if form.is_valid() and (booked := Appointment.objects.filter(key=form.cleaned_data["key"]).first()):
        return redirect("clinic:desk_appointment", booked.reference)
    patient = get_user_model()(username=new_username())
    newcomer = PatientForm(request.POST, instance=patient) if request.POST.get("new") else None
    valid = form.is_valid() and (newcomer is None or newcomer.is_valid())
    alike: list[PatientFields] = []
    if newcomer:
        newcomer.is_valid()  # fills the instance, also with an e-mail address that another account has
        newcomer.instance.set_unusable_password()
        alike = list(get_user_model().objects.patients().alike(newcomer.instance)[:MATCHES])
        valid = valid and (not alike or request.POST.get("create_anyway") == _keys(alike))
    elif form.is_valid() and not form.cleaned_data["patient"]:
        form.add_error("patient", _("Choose a patient, or enter a new one."))
        valid = False
    if valid:
        patient = newcomer.instance if newcomer else form.cleaned_data["patient"]
        appointment = Appointment(patient=patient, key=form.cleaned_data["key"])
        if form.apply(appointment):
            try:
                booked = booking.book(appointment, request.user, form.references)
            except booking.OverlapError as error:
                form.show_overlaps(error.overlaps)
            else:
                messages.success(request, _booked_words(booked))
                return redirect("clinic:desk_appointment", booked.reference)
    return _booking_page(request, form, newcomer, request.POST.dict(), alike, status=422)


def _keys(people: Sequence[PatientFields]) -> str:
    return " ".join(str(person.public_id) for person in people)


def _booked_words(appointment: Appointment) -> str:
    return _("Booked: %(name)s, %(when)s.") % {
        "name": name_of(appointment.patient),
        "when": _when(appointment.start),
    }


def _when(start: datetime.datetime) -> str:
    local = timezone.localtime(start)
    return f"{formats.date_format(local, 'l j F')}, {formats.date_format(local, 'H:i')}"


def _booking_page(
    request: Request, form: BookingForm, newcomer: PatientForm | None, values: dict[str, Any],
    alike: Sequence[PatientFields] = (), status: int = 200,
) -> HttpResponse:  # fmt: skip
    patient = _patient_of(values)
    text = "" if patient else values.get("q", "").strip()
    context = {
        "form": form,
        "newcomer": newcomer,
        "patient": patient,
        "text": text,
        "matches": get_user_model().objects.patients().matching(text)[:MATCHES] if text else [],
        "alike": alike,
        "alike_keys": _keys(alike),
        "filled_for": values.get("filled_for", ""),
        "services": Service.objects.filter(active=True).exists(),
        "search_first": request.method != "POST" or "someone_else" in request.POST,
        "section": "desk",
        **_calendar(values),
    }
    return render(request, "appointments/book.html", context, status=status)


def _patient_of(values: dict[str, Any]) -> PatientFields | None:
    try:
        public_id = uuid.UUID(values.get("patient") or "")
    except ValueError:
        return None
    return get_user_model().objects.patients().filter(public_id=public_id).first()


def _calendar(values: dict[str, Any]) -> dict[str, Any]:
    """Return what follows from the day, practitioner, time and length so far: the free times, and the chosen moment."""
    form = VisitForm({"minutes": VisitForm.base_fields["minutes"].initial, **values})
    form.is_valid()
    filled = form.cleaned_data
    free = []
    if {"practitioner", "day", "minutes"} <= filled.keys():
        free = booking.free_times(filled["practitioner"], filled["day"], filled["minutes"])
    return {"free": free, "start": filled.get("start"), "asked": "practitioner" in filled and "day" in filled}


@require_http_methods(["GET", "HEAD", "POST"])
@staff_required
def change_appointment(request: Request, reference: str) -> HttpResponseBase:
    """Show the form that moves an appointment or changes its practitioner, service or price; on POST save it.

    A POST with `look`, or with a free time in `at`, shows the free times that follow from it and saves nothing. If the
    price or the deposit changes, a first POST shows what this means for the payment, and a second one saves.
    """
    payment = open_payment_or_404(request, appointment__reference=reference.upper())
    looking = bool({"look", "at"} & request.POST.keys())
    posted = request.POST if request.method == "POST" else typed(request)
    if posted and "at" in posted:
        posted = posted.copy()
        posted.setlist("time", posted.getlist("at"))
    form = ChangeForm(posted, appointment=payment.appointment)
    appointment = copy(payment.appointment)  # the page's head shows the stored one until the change is saved
    consequence = ""
    if request.method == "POST" and not looking and form.is_valid() and form.apply(appointment):
        if form.columns & {"price_amount", "deposit_amount"}:
            consequence = consequence_of(payment, appointment.price_amount, appointment.deposit_amount)
        agreed = f"{appointment.price_amount} {appointment.deposit_amount}"
        if not consequence or form.cleaned_data["agreed"] == agreed:
            try:
                booking.change(appointment, request.user, form.columns, form.references)
            except booking.OverlapError as error:
                form.show_overlaps(error.overlaps)
            else:
                messages.success(request, _("Saved: %(when)s.") % {"when": _when(appointment.start)})
                return redirect("clinic:desk_appointment", appointment.reference)
        form.show_again(agreed=agreed)
    context = {
        "form": form,
        "payment": payment,
        "appointment": payment.appointment,
        "consequence": consequence,
        "chosen": "at" in request.POST,
        **_calendar({name: form[name].value() for name in ("practitioner", "day", "time", "minutes")}),
    }
    status = 422 if request.method == "POST" and not looking else 200
    return render(request, "appointments/change.html", context, status=status)
