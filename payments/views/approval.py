"""The page on which a second person approves or declines a requested refund."""

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpResponseBase
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from accounts.proof import proof_required

from ..desk import refund_approvals
from ..desk.refund_approvals import OwnRefundError, RefundRequest
from ..desk.refund_limits import refund_limit
from ..gateway.client import StripeUnavailableError
from ..gateway.refunds import NotRefundableError
from ..models import Payment
from .access import Request, open_payment_or_404, staff_required


@require_http_methods(["GET", "HEAD", "POST"])
@staff_required
@proof_required
def approve_refund(request: Request, reference: str) -> HttpResponseBase:
    """Show the payment's refund requests that wait for approval; on POST approve or decline the chosen one."""
    payment = open_payment_or_404(request, appointment__reference=reference.upper())
    limit = refund_limit(request.user, payment)
    if not limit:
        raise PermissionDenied
    requests = refund_approvals.waiting(payment)
    if request.method == "POST":
        chosen = next((each for each in requests if each.key == request.POST.get("key")), None)
        if chosen and "decline" in request.POST:
            refund_approvals.decline(payment, chosen.key, request.user)
            messages.info(request, _("Refund declined: no money will be refunded."))
        elif chosen:
            _approve(request, payment, chosen, limit)
        return redirect("clinic:desk_appointment", payment.appointment.reference)
    context = {"payment": payment, "appointment": payment.appointment, "requests": requests, "section": "desk"}
    return render(request, "payments/approve_refund.html", context)


def _approve(request: Request, payment: Payment, wanted: RefundRequest, limit: int) -> None:
    """Approve the refund request `wanted`, and add a message about the result for the next page.

    Approve nothing if the payment's refunds would then exceed `limit`, in minor units.
    """
    if wanted.amount > limit - payment.amount_refunded - payment.amount_refund_pending:
        messages.error(request, _("This is more than your account may refund. Ask an accountant or a manager."))
        return
    try:
        refund_approvals.approve(payment, wanted.key, request.user)
    except OwnRefundError:
        messages.error(request, _("You requested this refund yourself, so somebody else has to approve it."))
    except NotRefundableError:
        messages.error(
            request,
            _("This amount can no longer be refunded. Decline this request, then request the remaining amount."),
        )
    except StripeUnavailableError:
        messages.warning(
            request, _("Stripe did not answer. The refund stays pending, and this site tries again by itself.")
        )
    else:
        messages.success(request, _("Refund approved and sent to Stripe."))
