"""Pages that take payments at the front desk, refund payments, and show receipts."""

import uuid

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.forms import Form
from django.http import Http404, HttpResponse, HttpResponseBase, QueryDict
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_safe

from accounts.proof import proof_required
from accounts.unsent import typed
from appointments.money import format_amount

from ..desk import refund_approvals, till
from ..desk.receipts import lines_of
from ..desk.refund_limits import refund_limit
from ..forms import RefundForm, TakePaymentForm
from ..gateway import refunds
from ..gateway.checkout import NotPayableError
from ..gateway.client import StripeUnavailableError
from ..gateway.refunds import NotRefundableError
from ..models import Payment
from .access import Request, open_payment_or_404, staff_required


@require_http_methods(["GET", "HEAD", "POST"])
@staff_required
def take_payment(request: Request, reference: str) -> HttpResponseBase:
    """Show the form for a payment at the front desk; on POST record the payment."""
    payment = open_payment_or_404(request, appointment__reference=reference.upper())
    posted = request.POST or typed(request)
    key = _key(posted)
    if till.was_taken(payment, key):
        return redirect("clinic:desk_appointment", payment.appointment.reference)
    form = TakePaymentForm(posted, payment=payment)
    if not form.is_valid() or request.method != "POST":
        return _dialog(request, "payments/take_payment.html", payment, form, key)
    amount = form.cleaned_data["amount"]
    try:
        till.take_payment(payment, amount, form.cleaned_data["method"], request.user, key=key)
    except NotPayableError:
        payment = open_payment_or_404(request, pk=payment.pk)
        form.add_error(
            None, _("This payment has changed in the meantime, so nothing was recorded. Check it and try again.")
        )
        return _dialog(request, "payments/take_payment.html", payment, form, key, 409)
    messages.success(
        request, _("Payment of %(amount)s recorded.") % {"amount": format_amount(amount, payment.currency)}
    )
    return redirect("clinic:desk_appointment", payment.appointment.reference)


@require_http_methods(["GET", "HEAD", "POST"])
@staff_required
@proof_required
def refund_payment(request: Request, reference: str) -> HttpResponseBase:
    """Show the refund form, then a page to confirm amount and patient; refund when the user confirms.

    If the refund needs approval, save a request that a second person has to approve, and refund nothing yet.
    """
    payment = open_payment_or_404(request, appointment__reference=reference.upper())
    limit = refund_limit(request.user, payment)
    if not limit:
        raise PermissionDenied
    posted = request.POST or typed(request)
    key = _key(posted)
    if refunds.was_requested(payment, key):
        return redirect("clinic:desk_appointment", payment.appointment.reference)
    form = RefundForm(posted, payment=payment, limit=limit)
    if not form.is_valid():
        return _dialog(request, "payments/refund.html", payment, form, key)
    if "confirmed" not in request.POST:
        return _dialog(request, "payments/refund_confirm.html", payment, form, key, 200)
    if refund_approvals.needs_approval(payment, form.total):
        refund_approvals.request(payment, form.total, form.cleaned_data["reason"], request.user, key)
        messages.success(request, _("Refund requested. Somebody else has to approve it before it is sent to Stripe."))
        return redirect("clinic:desk_appointment", payment.appointment.reference)
    try:
        refunds.refund(payment, form.total, form.cleaned_data["reason"], request.user, key=key)
    except NotRefundableError as error:
        payment = open_payment_or_404(request, pk=payment.pk)
        form.add_error(None, _refusal(error, payment))
        return _dialog(request, "payments/refund.html", payment, form, key, 409)
    except StripeUnavailableError:
        messages.warning(
            request, _("Stripe did not answer. The refund stays pending, and this site tries again by itself.")
        )
    else:
        amount = format_amount(form.total, payment.currency)
        messages.success(request, _("Refund of %(amount)s sent to Stripe.") % {"amount": amount})
    return redirect("clinic:desk_appointment", payment.appointment.reference)


def _refusal(error: NotRefundableError, payment: Payment) -> str:
    """Return the text that says why a refund failed.

    Either Stripe refused it (the text names Stripe's code), or less money than the amount can still be refunded.
    """
    if error.code:
        return _("Stripe refused this refund (%(code)s). No money was refunded.") % {"code": error.code}
    remaining = format_amount(error.remaining, payment.currency)
    return _("Only %(remaining)s can still be refunded through Stripe.") % {"remaining": remaining}


def _key(posted: QueryDict | None) -> str:
    """Return the idempotency key posted with the form, or a new key if the posted one is missing or malformed.

    If a form is sent twice, by a double click or the back button, both requests have one key and take effect once.
    """
    try:
        return uuid.UUID(posted.get("key", "") if posted else "").hex
    except ValueError:
        return uuid.uuid4().hex


def _dialog(request: Request, template: str, payment: Payment, form: Form, key: str, status: int = 0) -> HttpResponse:
    """Render the form's page. If `status` is 0, the HTTP status is 422 for a posted form and 200 for any other."""
    context = {"payment": payment, "appointment": payment.appointment, "form": form, "key": key}
    return render(request, template, context, status=status or (422 if request.POST else 200))


@require_safe
@login_required
def receipt(request: Request, public_id: uuid.UUID) -> HttpResponse:
    """Show the payment's receipt. Raises Http404 while no money has been received."""
    payment = open_payment_or_404(request, public_id=public_id)
    if not payment.amount_received:
        raise Http404
    lines = lines_of(payment)
    context = {
        "payment": payment,
        "appointment": payment.appointment,
        "lines": lines,
        "total": sum(line.amount for line in lines),
        "printed": timezone.now(),
    }
    return render(request, "payments/receipt.html", context)
