"""The front desk's pages about patients: search, a patient's file, corrections, and the invitation to an account."""

import uuid

from django.contrib import messages
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth import get_user_model
from django.core.paginator import Paginator
from django.db.models import Sum
from django.http import HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_safe

from appointments.booking_forms import PatientForm
from people import sign_in
from people.models import PatientFields
from people.unsent import typed

from ..models import Note, Payment
from .access import Request, note_look, posted_from, refuse_copying, staff_required

ROWS = 50


@require_safe
@staff_required
def patient_search(request: Request) -> HttpResponse:
    """Find patients by name, phone number or e-mail address; show nobody as long as nothing is searched for."""
    text = request.GET.get("q", "").strip()
    found = get_user_model().objects.patients().matching(text) if text else get_user_model().objects.none()
    context = {"text": text, "people": found[:ROWS], "section": "patients"}
    return render(request, "appointments/patients.html", context)


@require_safe
@staff_required
def patient_file(request: Request, person_id: uuid.UUID) -> HttpResponse:
    """Show a patient's contact data, what they owe in each currency, their appointments, and the notes about them."""
    person = _person_or_404(request, person_id)
    own = Payment.objects.filter(appointment__patient=person.pk)
    page = Paginator(own.with_appointment().order_by("-appointment__start"), ROWS).get_page(request.GET.get("page"))
    totals = own.order_by("currency").values("currency")
    notes = Note.objects.filter(payment__in=own).select_related("author", "payment__appointment").order_by("-pk")
    context = {
        "person": person,
        "page": page,
        "balances": totals.annotate(owed=Sum("amount_owed"), overpaid=Sum("amount_overpaid")),
        "notes": notes[:ROWS],
        "invitable": sign_in.current().may_invite(person),
        "section": "patients",
    }
    return render(request, "appointments/patient_file.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@staff_required
def edit_patient(request: Request, person_id: uuid.UUID) -> HttpResponseBase:
    """Show the form with a patient's name and contact data; on POST save it."""
    person = _person_or_404(request, person_id)
    form = PatientForm(request.POST if request.method == "POST" else typed(request), instance=person)
    if request.method == "POST" and form.is_valid():
        form.save()
        sign_in.current().address_changed(person)
        LogEntry.objects.log_actions(
            request.user.pk, [person], CHANGE, change_message=[{"changed": {"fields": form.changed_data}}],
            single_object=True,
        )  # fmt: skip
        messages.success(request, _("Saved."))
        return redirect("clinic:patient", person.public_id)
    status = 422 if request.method == "POST" else 200
    return render(request, "appointments/edit_patient.html", {"form": form, "person": person}, status=status)


def _file_path(request: Request, person_id: uuid.UUID) -> str:
    return reverse("clinic:patient", args=[person_id])


@require_http_methods(["GET", "HEAD", "POST"])
@staff_required
@posted_from(_file_path)
def invite_patient(request: Request, person_id: uuid.UUID) -> HttpResponseBase:
    """E-mail the patient a link by which they choose a password, and write it down in the admin's history."""
    person = _person_or_404(request, person_id)
    try:
        sign_in.current().invite(request, person)
    except sign_in.NotInvitableError:
        refused = _("No invitation was sent: this person was invited a moment ago, or can sign in already.")
        messages.warning(request, refused)
    else:
        LogEntry.objects.log_actions(
            request.user.pk, [person], CHANGE, change_message="invited to the account", single_object=True
        )
        messages.success(request, _("Invitation sent to %(address)s.") % {"address": person.email})
    return redirect("clinic:patient", person.public_id)


def _person_or_404(request: Request, person_id: uuid.UUID) -> PatientFields:
    """Return the patient, and add an entry about their newest payment to the audit log of what staff open."""
    person: PatientFields = get_object_or_404(get_user_model().objects.patients(), public_id=person_id)
    if newest := Payment.objects.filter(appointment__patient=person.pk).order_by("-pk").first():
        note_look(request, newest, request.user)
        refuse_copying(request.user)
    return person
