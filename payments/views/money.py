"""Pages that take payments at the front desk, give money back, and show receipts."""

import uuid

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.forms import Form
from django.http import Http404, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_safe

from appointments.money import format_amount
from people.sign_in import proof_required
from people.unsent import typed

from ..desk import refund_orders, till
from ..desk.giving_back import give_back
from ..desk.order_words import done_words, refusal_words, words_of
from ..desk.refund_limits import OverLimitError, allowed_refund, needs_approval, refund_limit
from ..forms import RefundForm, TakePaymentForm, key_of
from ..gateway.checkout import NotPayableError
from ..gateway.client import StripeUnavailableError
from ..gateway.refunds import NotRefundableError
from ..models import Payment
from ..receipts import receipt_of
from .access import Request, open_payment_or_404, staff_required
from .sheet import filter_of, money_context


@require_http_methods(["GET", "HEAD", "POST"])
@staff_required
def take_payment(request: Request, reference: str) -> HttpResponseBase:
    """Show the form for a payment at the front desk; on POST record the payment."""
    payment = open_payment_or_404(request, appointment__reference=reference.upper())
    posted = request.POST or typed(request)
    key = key_of(posted)
    if till.was_taken(payment, key):
        return redirect("clinic:desk_appointment", payment.appointment.reference)
    form = TakePaymentForm(posted, payment=payment)
    if not form.is_valid() or request.method != "POST":
        return _taking(request, payment, form, key)
    filled = form.cleaned_data
    deposited = filled["deposited"].isoformat() if filled["deposited"] else ""
    details = {"note": filled["note"], "deposited": deposited}
    try:
        till.take_payment(payment, filled["amount"], filled["method"], request.user, key=key, **details)
    except NotPayableError:
        payment = open_payment_or_404(request, pk=payment.pk)
        form = TakePaymentForm(posted, payment=payment)
        form.is_valid()
        form.add_error(
            None, _("This payment has changed in the meantime, so nothing was recorded. Check it and try again.")
        )
        return _taking(request, payment, form, key, 409)
    messages.success(request, _taken(payment, form))
    return redirect("clinic:desk_appointment", payment.appointment.reference)


def _taking(request: Request, payment: Payment, form: TakePaymentForm, key: str, status: int = 0) -> HttpResponse:
    """Render the form's page or, if the form was sent from the sheet beside the day list, the sheet's part with it."""
    if request.headers.get("HX-Target") != f"payment-{payment.public_id}-money":
        return dialog(request, "payments/take_payment.html", payment, form, key, status)
    context = money_context(request, payment, filter_of(request, payment), form, key)
    return render(request, "payments/money.html", context, status=status or 422)


def _taken(payment: Payment, form: TakePaymentForm) -> str:
    """Return the message that says which amount was recorded as paid, and how much change the patient gets back."""
    amount = format_amount(form.cleaned_data["amount"], payment.currency)
    recorded = _("Payment of %(amount)s recorded.") % {"amount": amount}
    if not form.change:
        return recorded
    change = _("Change: %(change)s.") % {"change": format_amount(form.change, payment.currency)}
    return f"{recorded} {change}"


@require_http_methods(["GET", "HEAD", "POST"])
@staff_required
@proof_required
def refund_payment(request: Request, reference: str) -> HttpResponseBase:
    """Show the refund form, then a page on which the user confirms the refund; then give the money back.

    If the refund needs approval, save a request that a second person has to approve, and give nothing back yet.
    """
    payment = open_payment_or_404(request, appointment__reference=reference.upper())
    if not refund_limit(request.user, payment):
        raise PermissionDenied
    posted = request.POST or typed(request)
    key = key_of(posted)
    if refund_orders.was_recorded(payment, key):
        return redirect("clinic:desk_appointment", payment.appointment.reference)
    form = RefundForm(posted, payment=payment, allowed=allowed_refund(request.user, payment))
    if not form.is_valid():
        return dialog(request, "payments/refund.html", payment, form, key)
    if "change" in request.POST:
        return dialog(request, "payments/refund.html", payment, form, key, 200)
    if "confirmed" not in request.POST:
        return _confirmation(request, payment, form, key)
    return _give_back(request, payment, form, key)


def _confirmation(request: Request, payment: Payment, form: RefundForm, key: str) -> HttpResponse:
    """Render the page that explains what the refund does and asks the user to confirm it."""
    context = {
        "payment": payment,
        "appointment": payment.appointment,
        "form": form,
        "key": key,
        "order": form.order,
        "words": words_of(payment, form.order),
        "needs_approval": needs_approval(payment, form.order.amount),
    }
    return render(request, "payments/refund_confirm.html", context)


def _give_back(request: Request, payment: Payment, form: RefundForm, key: str) -> HttpResponseBase:
    """Give the money back, or show the form again and say why the money can't be given back."""
    order = form.order
    try:
        given = give_back(payment, order, request.user, key=key)
    except (OverLimitError, NotRefundableError) as error:
        payment = open_payment_or_404(request, pk=payment.pk)
        form = RefundForm(request.POST, payment=payment, allowed=allowed_refund(request.user, payment))
        refused_by_stripe = isinstance(error, NotRefundableError) and error.code
        if form.is_valid() or refused_by_stripe:  # else the form itself says how much is left
            form.add_error(None, refusal_words(error, payment, order.through))
        status = 422 if isinstance(error, OverLimitError) else 409
        # A refused request stays on record, so that another try needs another key.
        return dialog(request, "payments/refund.html", payment, form, uuid.uuid4().hex, status)
    except StripeUnavailableError:
        messages.warning(
            request, _("Stripe did not answer. The refund stays pending, and this site tries again by itself.")
        )
    else:
        waiting = _("Refund requested. Somebody else has to approve it before any money is given back.")
        messages.success(request, done_words(payment, order) if given else waiting)
    return redirect("clinic:desk_appointment", payment.appointment.reference)


def dialog(request: Request, template: str, payment: Payment, form: Form, key: str, status: int = 0) -> HttpResponse:
    """Render the form's page. If `status` is 0, answer with status 422 for a posted form and 200 for any other."""
    context = {"payment": payment, "appointment": payment.appointment, "form": form, "key": key}
    return render(request, template, context, status=status or (422 if request.POST else 200))


@require_safe
@login_required
def receipt(request: Request, public_id: uuid.UUID) -> HttpResponse:
    """Show the payment's receipt. Raises Http404 while no money has been received."""
    payment = open_payment_or_404(request, public_id=public_id)
    if not payment.amount_received:
        raise Http404
    context = {"payment": payment, "appointment": payment.appointment, "receipt": receipt_of(payment)}
    return render(request, "payments/receipt.html", context)
