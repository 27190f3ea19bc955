"""Pages on which staff record whether patients attended, and cancel appointments."""

from django.contrib import messages
from django.contrib.admin.models import CHANGE, LogEntry
from django.http import HttpResponseBase
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from appointments.models import Appointment

from ..domain.status import PaymentStatus
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
def cancel_appointment(request: Request, reference: str) -> HttpResponseBase:
    """Show what cancelling the appointment means for its payment; on POST cancel the appointment.

    After cancelling, redirect to the refund form if money can be refunded, else to the appointment's page.
    """
    payment = open_payment_or_404(request, appointment__reference=reference.upper())
    if request.method == "POST":
        _set_status(request, payment.appointment, Attendance.CANCELED)
        payment.refresh_from_db()
        return redirect(
            "clinic:refund_payment" if payment.refundable else "clinic:desk_appointment", payment.appointment.reference
        )
    context = {"payment": payment, "appointment": payment.appointment, "consequence": consequence_of(payment)}
    return render(request, "appointments/cancel.html", context)


def _set_status(request: Request, appointment: Appointment, status: Appointment.Status) -> None:
    """Save the appointment's new status, record the change in the admin log, and add a message for the next page."""
    if appointment.status == status:
        return
    appointment.status = status
    appointment.save(actor=request.user)
    LogEntry.objects.log_actions(
        request.user.pk, [appointment], CHANGE, change_message=f"status: {status.value}", single_object=True
    )
    messages.success(request, _("Saved: %(status)s.") % {"status": status.label.lower()})


def consequence_of(payment: Payment) -> str:
    """Return a sentence that tells staff what cancelling the appointment means for its payment."""
    if payment.refundable:
        return _("The clinic keeps this payment until you refund it, which is the next step.")
    if payment.status == PaymentStatus.PROCESSING:
        return _(
            "A direct debit is on its way. When it arrives, it appears under “To review”, so that you can refund it."
        )
    if payment.status == PaymentStatus.CHECKOUT_OPEN:
        return _("The patient’s open payment page will be closed. Nothing has been paid, and nothing will be due.")
    if payment.payable:
        return _("Nothing has been paid, and nothing will be due.")
    return _("No payment is affected.")
