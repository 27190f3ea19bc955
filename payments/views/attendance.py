"""Pages on which staff record whether patients attended, and cancel appointments."""

from django.contrib import messages
from django.contrib.admin.models import CHANGE, LogEntry
from django.http import HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from appointments import booking
from appointments.models import Appointment
from people.unsent import typed

from ..desk.refund_limits import refund_limit
from ..domain.status import PaymentStatus
from ..forms import CancelForm
from ..models import Payment
from .access import Request, desk_page, open_payment_or_404, posted_from, staff_required

Attendance = Appointment.Status
SETTABLE = (Attendance.BOOKED, Attendance.COMPLETED, Attendance.NO_SHOW)


@require_http_methods(["GET", "HEAD", "POST"])
@staff_required
@posted_from(desk_page)
def set_attendance(request: Request, reference: str) -> HttpResponseBase:
    """Set the appointment's status to the posted one: booked, completed or no-show. Ignore any other."""
    payment = open_payment_or_404(request, appointment__reference=reference.upper())
    if request.POST.get("status") in SETTABLE:
        _set_status(request, payment.appointment, Attendance(request.POST["status"]))
    return redirect("clinic:desk_appointment", payment.appointment.reference)


@require_http_methods(["GET", "HEAD", "POST"])
@staff_required
@posted_from(desk_page)
def set_arrival(request: Request, reference: str) -> HttpResponseBase:
    """Note that the patient has arrived, or take that back, as the posted "arrived" is "1" or "0".

    Answer htmx with 204, because all open pages get the change anyway. Redirect any other request to the row in the
    list from which the form was sent.
    """
    payment = open_payment_or_404(request, appointment__reference=reference.upper())
    if (arrived := request.POST.get("arrived")) in ("0", "1"):
        payment.appointment.note_arrival(arrived=arrived == "1", actor=request.user)
    if "HX-Request" in request.headers:
        return HttpResponse(status=204)
    page = request.POST.get("page", "")
    if not url_has_allowed_host_and_scheme(page, {request.get_host()}, require_https=request.is_secure()):
        page = desk_page(request, payment.appointment.reference)
    return redirect(f"{page}#row-{payment.appointment.reference}")


@require_http_methods(["GET", "HEAD", "POST"])
@staff_required
def cancel_appointment(request: Request, reference: str) -> HttpResponseBase:
    """Show what cancelling means for the payment, and ask how much the clinic keeps; on POST cancel the appointment.

    Then redirect to the refund form if there is money to give back and the user may give some back, else to the
    appointment's page.
    """
    payment = open_payment_or_404(request, appointment__reference=reference.upper())
    if payment.appointment.canceled:
        return redirect(_after_cancelling(request, payment), payment.appointment.reference)
    form = CancelForm(request.POST if request.method == "POST" else typed(request), payment=payment)
    if not form.is_valid() or request.method != "POST":
        context = {"consequence": consequence_of(payment), "form": form}
        context |= {"payment": payment, "appointment": payment.appointment}
        return render(request, "appointments/cancel.html", context, status=422 if request.method == "POST" else 200)
    if booking.cancel(payment.appointment, request.user, form.cleaned_data["fee"] or 0):
        _note_status(request, payment.appointment, Attendance.CANCELED)
    payment.refresh_from_db()
    return redirect(_after_cancelling(request, payment), payment.appointment.reference)


def _after_cancelling(request: Request, payment: Payment) -> str:
    """Return the URL name of the page that the user sees after cancelling the appointment.

    This is the refund form if there is money to give back and the user may give some back.
    """
    too_much = payment.amount_overpaid and payment.refundable and refund_limit(request.user, payment)
    return "clinic:refund_payment" if too_much else "clinic:desk_appointment"


def _set_status(request: Request, appointment: Appointment, status: Appointment.Status) -> None:
    """Save the appointment's new status, log the change for the admin, and add a message for the next page."""
    if appointment.status == status:
        return
    appointment.status = status
    appointment.save(actor=request.user, update_fields=["status"])
    _note_status(request, appointment, status)


def _note_status(request: Request, appointment: Appointment, status: Appointment.Status) -> None:
    """Log the appointment's new status for the admin, and add a message for the next page."""
    LogEntry.objects.log_actions(
        request.user.pk, [appointment], CHANGE, change_message=f"status: {status.value}", single_object=True
    )
    messages.success(request, _("Saved: %(status)s.") % {"status": status.label.lower()})


def consequence_of(payment: Payment) -> str:
    """Return a sentence that tells staff what cancelling the appointment means for its payment."""
    if payment.refundable:
        return _("You can refund what the clinic doesn’t keep in the next step.")
    if payment.status == PaymentStatus.PROCESSING:
        return _(
            "A direct debit is on its way. When it arrives, it appears under “To review”, so that you can refund it."
        )
    if payment.has_instructions:
        return _(
            "The patient has instructions for paying. If money still arrives, it appears under “To review”, so that you"
            " can refund it."
        )
    if payment.status == PaymentStatus.CHECKOUT_OPEN:
        return _("The patient’s open payment page will be closed. Nothing has been paid.")
    if payment.payable:
        return _("Nothing has been paid. Only what the clinic keeps will be due.")
    return _("No payment is affected.")
