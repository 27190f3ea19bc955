"""Paying without an account: what a pay link opens, and the desk's screen that shows it as a QR code."""

import contextlib
from collections.abc import Callable
from functools import wraps

import segno
from django.core.signing import BadSignature, SignatureExpired
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.safestring import mark_safe
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from ..desk.pay_links import payment_of, token_of
from ..gateway import reconcile
from ..gateway.client import StripeUnavailableError
from ..ledger import Source
from ..models import Payment
from .access import Request, payment_or_404, staff_required
from .checkout import is_confirming, remember_return, to_checkout

LinkView = Callable[[HttpRequest, str, Payment], HttpResponseBase]


def with_payment(view: LinkView) -> Callable[[HttpRequest, str], HttpResponseBase]:
    """Gives the view the link's payment: 404 for a forged link, 410 with a way out for an old one."""

    @never_cache
    @wraps(view)
    def checked(request: HttpRequest, token: str) -> HttpResponseBase:
        try:
            payment = payment_of(token)
        except SignatureExpired:
            return render(request, "payments/pay_link_expired.html", status=410)
        except (BadSignature, Payment.DoesNotExist) as error:
            raise Http404 from error
        response = view(request, token, payment)
        response.headers["X-Robots-Tag"] = "noindex"
        return response

    return checked


@require_safe
@with_payment
def pay_link(request: HttpRequest, token: str, payment: Payment) -> HttpResponseBase:
    if session_id := request.GET.get("session_id"):
        if not reconcile.confirm_return(payment, session_id):
            raise Http404
        remember_return(request, payment)
        return redirect("clinic:pay_link", token)
    return render(request, "payments/pay_link.html", context_of(request, token, payment))


@require_POST
@with_payment
def pay_by_link(request: HttpRequest, token: str, payment: Payment) -> HttpResponseBase:
    page = request.build_absolute_uri(reverse("clinic:pay_link", args=[token]))
    return to_checkout(request, payment, page=page, back=page)


@require_POST
@with_payment
def confirm_by_link(request: HttpRequest, token: str, payment: Payment) -> HttpResponseBase:
    """Ask Stripe; the region that shows where the payment stands, or without htmx the page."""
    if is_confirming(request, payment):
        with contextlib.suppress(StripeUnavailableError):  # the region asks again by itself
            reconcile.ask_stripe(payment, Source.RETURN_PAGE)
        payment.refresh_from_db()
    if getattr(request, "htmx", False):
        return render(request, "payments/_pay_link_state.html", context_of(request, token, payment))
    return redirect("clinic:pay_link", token)


def context_of(request: HttpRequest, token: str, payment: Payment) -> dict[str, object]:
    return {
        "token": token,
        "payment": payment,
        "appointment": payment.appointment,
        "confirming": is_confirming(request, payment),
    }


@require_safe
@staff_required
def collect(request: Request, reference: str) -> HttpResponse:
    """The desk's screen while a patient pays on their own phone."""
    payment = payment_or_404(request, appointment__reference=reference.upper())
    link = request.build_absolute_uri(reverse("clinic:pay_link", args=[token_of(payment)]))
    code = segno.make(link, error="m", micro=False).svg_inline(border=4, light="#fff", svgclass="qr", omitsize=True)
    context = {
        "payment": payment,
        "appointment": payment.appointment,
        "link": link,
        "code": mark_safe(code),  # noqa: S308 - segno's own drawing of an encoded address
    }
    return render(request, "payments/collect.html", context)
