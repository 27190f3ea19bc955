"""The pages on which patients see their appointments and what each costs."""

from urllib.parse import urlsplit

from django.contrib.auth.decorators import login_required
from django.http import HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from appointments.calendar import Entry, to_ics

from ..conf import app_settings
from ..models import Payment
from .access import Request, open_payment_or_404
from .checkout import is_confirming

PAST = 100  # past appointments shown; nobody pays for older ones


@require_safe
@login_required
def home(request: Request) -> HttpResponseBase:
    """Redirect staff to the front desk and patients to their appointments."""
    return redirect("clinic:desk" if request.user.is_staff else "clinic:appointments")


@require_safe
@login_required
def appointment_list(request: Request) -> HttpResponse:
    """List the patient's upcoming and past appointments."""
    own = Payment.objects.filter(appointment__patient=request.user.pk).with_appointment()
    context = {"upcoming": own.upcoming(), "past": own.past()[:PAST], "section": "appointments"}
    return render(request, "appointments/patient_list.html", context)


@require_safe
@login_required
def appointment_detail(request: Request, reference: str) -> HttpResponse:
    """Show one appointment with its payment."""
    payment = open_payment_or_404(request, appointment__reference=reference.upper())
    context = {"payment": payment, "appointment": payment.appointment, "confirming": is_confirming(request, payment)}
    return render(request, "appointments/patient_detail.html", context)


@require_safe
@login_required
def appointment_calendar(request: Request, reference: str) -> HttpResponse:
    """Return the appointment as an iCalendar file to download."""
    payment = open_payment_or_404(request, appointment__reference=reference.upper())
    appointment = payment.appointment
    title = _("Appointment %(reference)s") % {"reference": appointment.reference}
    where = (
        f"{app_settings.CLINIC_NAME}, {app_settings.CLINIC_ADDRESS}"
        if app_settings.CLINIC_ADDRESS
        else app_settings.CLINIC_NAME
    )
    entry = Entry(appointment, title, payment.version, payment.updated_at)
    calendar = to_ics([entry], where=where, host=urlsplit(app_settings.CLINIC_SITE_URL).netloc, remind=True)
    response = HttpResponse(calendar, content_type="text/calendar; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="{appointment.reference}.ics"'
    return response
