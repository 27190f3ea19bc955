"""The page on which a second person approves or declines a requested refund."""

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpResponseBase
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from people.sign_in import proof_required

from ..desk import refund_approvals
from ..desk.order_words import done_words, refusal_words, words_of
from ..desk.refund_approvals import OwnRefundError, RefundRequest
from ..desk.refund_limits import OverLimitError, refund_limit
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
    if not refund_limit(request.user, payment):
        raise PermissionDenied
    requests = refund_approvals.waiting(payment)
    if request.method == "POST":
        chosen = next((each for each in requests if each.key == request.POST.get("key")), None)
        if chosen and "decline" in request.POST:
            refund_approvals.decline(payment, chosen.key, request.user)
            messages.info(request, _("Refund declined: no money will be given back."))
        elif chosen and "approve" in request.POST:
            _approve(request, payment, chosen)
        return redirect("clinic:desk_appointment", payment.appointment.reference)
    context = {
        "payment": payment,
        "appointment": payment.appointment,
        "requests": [(each, words_of(payment, each.order)) for each in requests],
        "section": "desk",
    }
    return render(request, "payments/approve_refund.html", context)


def _approve(request: Request, payment: Payment, wanted: RefundRequest) -> None:
    """Approve the refund request `wanted`, and add a message about the result for the next page."""
    order = wanted.order
    try:
        refund_approvals.approve(payment, wanted.key, request.user)
    except OwnRefundError:
        messages.error(request, _("You requested this refund yourself, so somebody else has to approve it."))
    except OverLimitError as error:
        messages.error(request, refusal_words(error, payment, order.through))
    except NotRefundableError as error:
        advice = _("Decline this request, then request what is left.")
        messages.error(request, f"{refusal_words(error, payment, order.through)} {advice}")
    except StripeUnavailableError:
        messages.warning(
            request, _("Stripe did not answer. The refund stays pending, and this site tries again by itself.")
        )
    else:
        messages.success(request, _("Refund approved.") + " " + done_words(payment, order))
