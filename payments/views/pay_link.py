"""Pages for pay links. A pay link is a URL at which a patient pays, and later reads the receipt, without an account.

The front desk has a page that shows the link as a QR code, and can end a link or replace it.
"""

import contextlib
from collections.abc import Callable
from functools import wraps

import segno
from django.contrib import messages
from django.contrib.auth.models import AbstractUser
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe
from django_htmx.http import HttpResponseClientRefresh

from ..desk.pay_links import OVER
from ..gateway import reconcile
from ..gateway.client import StripeRefusedError, StripeUnavailableError
from ..ledger import Source
from ..models import PayLink, Payment
from ..models.pay_link import LinkState
from ..receipts import receipt_of
from .access import Request, desk_page, open_payment_or_404, posted_from, staff_required
from .checkout import is_confirming, remember_return, to_checkout

LinkView = Callable[[HttpRequest, str, PayLink], HttpResponseBase]
Channel = PayLink.Channel


def with_link(view: LinkView) -> Callable[[HttpRequest, str], HttpResponseBase]:
    """Decorate a view: pass it the link that has the token, after the token. Answer 404 if there is none.

    Keep the pages out of caches and search engines.
    """

    @never_cache
    @wraps(view)
    def checked(request: HttpRequest, token: str) -> HttpResponseBase:
        try:
            link = PayLink.objects.find(token)
        except PayLink.DoesNotExist as error:
            raise Http404 from error
        response = view(request, token, link)
        response.headers["X-Robots-Tag"] = "noindex"
        return response

    return checked


@require_safe
@with_link
def pay_link(request: HttpRequest, token: str, link: PayLink) -> HttpResponseBase:
    """Show the page on which the patient pays or, once everything is paid, the receipt.

    A link that leads to neither is answered with 410 and a page that says why. Stripe redirects people here after they
    pay, with the Checkout Session's id as `session_id` in the query string.
    """
    payment = link.payment
    if session_id := request.GET.get("session_id"):
        if not reconcile.confirm_return(payment, session_id):
            raise Http404
        remember_return(request, session_id)
        return redirect("clinic:pay_link", token)
    state = link.state
    if state == LinkState.PAID:
        context = {"payment": payment, "appointment": payment.appointment, "receipt": receipt_of(payment)}
        return render(request, "payments/pay_link_receipt.html", context)
    if state == LinkState.OPEN:
        return render(request, "payments/pay_link.html", context_of(request, token, payment))
    title, words = OVER[state]
    return render(request, "payments/pay_link_over.html", {"title": title, "words": words, "state": state}, status=410)


def _page(request: HttpRequest, token: str, link: PayLink) -> str:
    return reverse("clinic:pay_link", args=[token])


@require_http_methods(["GET", "HEAD", "POST"])
@with_link
@posted_from(_page)
def pay_by_link(request: HttpRequest, token: str, link: PayLink) -> HttpResponseBase:
    """Redirect the person who holds the link to Stripe Checkout, or to the link's page if the link isn't open."""
    if link.state != LinkState.OPEN:
        return redirect("clinic:pay_link", token)
    page = request.build_absolute_uri(_page(request, token, link))
    return to_checkout(request, link.payment, page=page, back=page)


@require_http_methods(["GET", "HEAD", "POST"])
@with_link
@posted_from(_page)
def confirm_by_link(request: HttpRequest, token: str, link: PayLink) -> HttpResponseBase:
    """Fetch the payment's state from Stripe if the person has just paid.

    Answer an htmx request with the part of the page that shows the status, or have the page load again if the link no
    longer serves for paying; redirect other requests to the page.
    """
    payment = link.payment
    if is_confirming(request, payment):
        with contextlib.suppress(StripeUnavailableError, StripeRefusedError):  # the page repeats this request by itself
            reconcile.ask_stripe(payment, Source.RETURN_PAGE)
        payment.refresh_from_db()
    if "HX-Request" not in request.headers:
        return redirect("clinic:pay_link", token)
    if link.state != LinkState.OPEN:
        return HttpResponseClientRefresh()
    return render(request, "payments/_pay_link_state.html", context_of(request, token, payment))


def context_of(request: HttpRequest, token: str, payment: Payment) -> dict[str, object]:
    """Return the template context of the page, which also suits the template that renders only the status."""
    return {
        "token": token,
        "payment": payment,
        "appointment": payment.appointment,
        "confirming": is_confirming(request, payment),
    }


def link_and_code(payment: Payment, actor: AbstractUser | None = None) -> tuple[str, SafeString]:
    """Return the address of the payment's link for the front desk, and the link as a QR code: an SVG element.

    The link is made, by the member of staff `actor`, if there is none that is open.
    """
    link = PayLink.objects.offer(payment, Channel.DESK, actor).url
    code = segno.make(link, error="m", micro=False).svg_inline(border=4, light="#fff", svgclass="qr", omitsize=True)
    return link, mark_safe(code)  # noqa: S308 - the SVG holds the drawn modules and none of the link's text


@require_safe
@staff_required
def collect(request: Request, reference: str) -> HttpResponse:
    """Show staff the payment's link as a QR code, so that a patient at the desk can pay on their own phone.

    If neither a payment nor a card is asked for online now, show only where the payment stands.
    """
    payment = open_payment_or_404(request, appointment__reference=reference.upper())
    asked = payment.payable_online or payment.wants_card
    link, code = link_and_code(payment, request.user) if asked else ("", "")
    context = {"payment": payment, "appointment": payment.appointment, "link": link, "code": code}
    return render(request, "payments/collect.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@staff_required
@posted_from(desk_page)
def replace_link(request: Request, reference: str) -> HttpResponseBase:
    """End the link that the front desk shows as a QR code, and show a new one."""
    payment = open_payment_or_404(request, appointment__reference=reference.upper())
    PayLink.objects.replace(payment, Channel.DESK, request.user)
    messages.success(request, _("Here is a new link. The earlier one no longer works."))
    return redirect("clinic:collect", payment.appointment.reference)


def _desk_page(request: HttpRequest, reference: str, number: int) -> str:
    return desk_page(request, reference)


@require_http_methods(["GET", "HEAD", "POST"])
@staff_required
@posted_from(_desk_page)
def end_link(request: Request, reference: str, number: int) -> HttpResponseBase:
    """End one of the payment's links, so that nobody can pay or read anything through it any more."""
    payment = open_payment_or_404(request, appointment__reference=reference.upper())
    get_object_or_404(payment.pay_links, pk=number).end(PayLink.Ending.STAFF, request.user)
    messages.success(request, _("The link was ended. It can no longer be used."))
    return redirect(f"{desk_page(request, payment.appointment.reference)}?way=link")


@require_safe
@never_cache
@staff_required
def links(request: Request, reference: str) -> HttpResponse:
    """Render only the payment's links; open pages fetch them when the payment has changed."""
    payment = open_payment_or_404(request, appointment__reference=reference.upper())
    return render(request, "payments/links.html", {"payment": payment})
