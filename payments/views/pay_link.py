"""Pages for pay links. A pay link is a signed URL at which a patient pays without an account.

The front desk has a page that shows the link as a QR code.
"""

import contextlib
from collections.abc import Callable
from functools import wraps

import segno
from django.conf import settings
from django.core.signing import BadSignature, SignatureExpired
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.safestring import SafeString, mark_safe
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from ..desk.pay_links import payment_of, token_of
from ..gateway import reconcile
from ..gateway.client import StripeRefusedError, StripeUnavailableError
from ..ledger import Source
from ..models import Payment
from .access import Request, open_payment_or_404, posted_from, staff_required
from .checkout import is_confirming, remember_return, to_checkout

LinkView = Callable[[HttpRequest, str, Payment], HttpResponseBase]


def with_payment(view: LinkView) -> Callable[[HttpRequest, str], HttpResponseBase]:
    """Decorate a view: pass it the payment that the link's token names.

    Answer 404 for a forged link and 410 for an expired one; keep the pages out of caches and search engines.
    """

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
    """Show the page on which the patient pays.

    Stripe redirects people here after they pay, with the Checkout Session's id as `session_id` in the query string.
    """
    if session_id := request.GET.get("session_id"):
        if not reconcile.confirm_return(payment, session_id):
            raise Http404
        remember_return(request, payment)
        return redirect("clinic:pay_link", token)
    return render(request, "payments/pay_link.html", context_of(request, token, payment))


def _page(request: HttpRequest, token: str, payment: Payment) -> str:
    return reverse("clinic:pay_link", args=[token])


@require_http_methods(["GET", "HEAD", "POST"])
@with_payment
@posted_from(_page)
def pay_by_link(request: HttpRequest, token: str, payment: Payment) -> HttpResponseBase:
    """Redirect the person who holds the link to Stripe Checkout."""
    page = request.build_absolute_uri(reverse("clinic:pay_link", args=[token]))
    return to_checkout(request, payment, page=page, back=page)


@require_http_methods(["GET", "HEAD", "POST"])
@with_payment
@posted_from(_page)
def confirm_by_link(request: HttpRequest, token: str, payment: Payment) -> HttpResponseBase:
    """Fetch the payment's state from Stripe if the person has just paid.

    Answer an htmx request with the part of the page that shows the status; redirect other requests to the page.
    """
    if is_confirming(request, payment):
        with contextlib.suppress(StripeUnavailableError, StripeRefusedError):  # the page repeats this request by itself
            reconcile.ask_stripe(payment, Source.RETURN_PAGE)
        payment.refresh_from_db()
    if getattr(request, "htmx", False):
        return render(request, "payments/_pay_link_state.html", context_of(request, token, payment))
    return redirect("clinic:pay_link", token)


def context_of(request: HttpRequest, token: str, payment: Payment) -> dict[str, object]:
    """Return the template context of the page, which also suits the template that renders only the status."""
    return {
        "token": token,
        "payment": payment,
        "appointment": payment.appointment,
        "confirming": is_confirming(request, payment),
    }


def link_and_code(payment: Payment) -> tuple[str, SafeString]:
    """Return the address of the payment's pay link, and the link as a QR code: an SVG element."""
    link = settings.SITE_URL + reverse("clinic:pay_link", args=[token_of(payment)])
    code = segno.make(link, error="m", micro=False).svg_inline(border=4, light="#fff", svgclass="qr", omitsize=True)
    return link, mark_safe(code)  # noqa: S308 - the SVG holds the drawn modules and none of the link's text


@require_safe
@staff_required
def collect(request: Request, reference: str) -> HttpResponse:
    """Show staff the payment's link as a QR code, so that a patient at the desk can pay on their own phone."""
    payment = open_payment_or_404(request, appointment__reference=reference.upper())
    link, code = link_and_code(payment)
    context = {"payment": payment, "appointment": payment.appointment, "link": link, "code": code}
    return render(request, "payments/collect.html", context)
