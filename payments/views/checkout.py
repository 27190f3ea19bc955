"""Views that send people to Stripe Checkout, receive them afterwards, and fetch a payment's state from Stripe."""

import datetime
import uuid

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import timezone
from django.utils.formats import time_format
from django.utils.translation import get_language
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_safe
from django_htmx.http import trigger_client_event

from people.requests import sent_by_itself

from ..domain.facts import Kind
from ..emails import message
from ..gateway import checkout, reconcile
from ..gateway.checkout import NotPayableError, TooManyPagesError
from ..gateway.client import NotUnderstoodError, StripeRefusedError, StripeUnavailableError
from ..ledger import Source
from ..models import Payment
from .access import Request, open_payment_or_404, payment_or_404, posted_from

RETURNED = "returned_from_checkout"  # session key; its value is the id of the Checkout Session last returned from


def page_of(request: Request, payment: Payment) -> str:
    """Return the URL path of the payment's page: the front desk's for staff, else the patient's."""
    staff = request.user.is_staff
    return reverse("clinic:desk_appointment" if staff else "clinic:appointment", args=[payment.appointment.reference])


def _page(request: Request, public_id: uuid.UUID) -> str:
    return page_of(request, payment_or_404(request, public_id=public_id))


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
@posted_from(_page)
def pay(request: Request, public_id: uuid.UUID) -> HttpResponseBase:
    """Redirect the signed-in user to Stripe Checkout for this payment."""
    payment = open_payment_or_404(request, public_id=public_id)
    page = request.build_absolute_uri(page_of(request, payment))
    return to_checkout(
        request, payment, page, back=request.build_absolute_uri(reverse("clinic:checkout_return", args=[public_id]))
    )


def to_checkout(request: HttpRequest, payment: Payment, page: str, back: str) -> HttpResponseBase:
    """Redirect to Stripe Checkout, or to the URL `page` with a message if Checkout can't be opened.

    Stripe redirects people to the URL `back` after they pay, and to `page` when they cancel. Only the patient and staff
    see the patient's e-mail address in Checkout, because a pay link may have been passed on to somebody else.
    """
    language = get_language() or "en"
    if not request.user.is_staff:
        message.remember_language(payment.appointment.patient, language)
    try:
        url = checkout.open_checkout(
            payment,
            return_url=f"{back}?session_id={{CHECKOUT_SESSION_ID}}",
            cancel_url=page,
            language=language,
            prefill=request.user.is_staff or request.user.pk == payment.appointment.patient_id,
        )
    except NotPayableError:
        messages.info(request, _nothing_opened(payment))
    except TooManyPagesError as error:
        next_minute = timezone.localtime(error.again_at) + datetime.timedelta(minutes=1)
        text = _("Too many payment pages were opened. Please try again at %(time)s, or pay at the front desk.")
        messages.error(request, text % {"time": time_format(next_minute, "TIME_FORMAT")})
    except StripeRefusedError as error:
        messages.error(request, _refusal(error, to_staff=request.user.is_staff))
    except StripeUnavailableError:
        messages.error(
            request, _("Stripe cannot be reached, and you have not been charged. Please try again in a minute.")
        )
    else:
        return redirect(url)
    return redirect(page)


def _nothing_opened(payment: Payment) -> str:
    """Return the text that says why Checkout isn't opened: nothing is to be paid online, or the payment has changed."""
    payment.refresh_from_db()
    if payment.payable_online:
        return _("This payment has just changed. Please check it, then try again.")
    return _("There is nothing to pay online for this appointment now.")


def _refusal(error: StripeRefusedError, *, to_staff: bool) -> str:
    """Return the text that says why the payment page couldn't be opened; staff also see Stripe's code."""
    if to_staff:
        return _("Stripe refused: %(code)s. Nothing has been charged.") % {"code": error.code}
    return _("Stripe refused to open the payment page. You have not been charged: please pay at the front desk.")


@require_safe
@login_required
def checkout_return(request: Request, public_id: uuid.UUID) -> HttpResponseBase:
    """Receive a user whom Stripe redirects here after paying, and redirect to the payment's page.

    Raises Http404 if the user may not see the payment, or if `session_id` in the query string isn't the id of a
    Checkout Session of this payment.
    """
    payment = open_payment_or_404(request, public_id=public_id)
    session_id = request.GET.get("session_id", "")
    if not reconcile.confirm_return(payment, session_id):
        raise Http404
    remember_return(request, session_id)
    return redirect(page_of(request, payment))


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
@posted_from(_page)
def confirm(request: Request, public_id: uuid.UUID) -> HttpResponseBase:
    """Fetch the payment's state from Stripe and record it.

    Answer a page that asks by itself with an HX-Trigger event, at which it fetches the changes at once. Redirect any
    other request to the payment's page, with a message.
    """
    payment = open_payment_or_404(request, public_id=public_id)
    staff = request.user.is_staff
    try:
        reconcile.ask_stripe(
            payment, Source.RECONCILE if staff else Source.RETURN_PAGE, request.user if staff else None
        )
    except NotUnderstoodError:
        note = _(
            "Stripe reports something about this payment that this site doesn’t understand. Everything else is up to"
            " date below, and the people who run this site are told."
        )
    except StripeUnavailableError:
        note = _(
            "Stripe cannot be reached now. Nothing is lost: this page will show the payment as soon as Stripe answers."
        )
    except StripeRefusedError as error:
        note = _("Stripe refuses to answer this site (%(code)s). Nothing is lost: this page shows what Stripe reports.")
        note %= {"code": error.code}
    else:
        note = _("Checked with Stripe: the status below is up to date.")
    if sent_by_itself(request):
        return trigger_client_event(HttpResponse(status=204), "live:refresh", {"target": "live-source"})
    messages.info(request, note)
    return redirect(page_of(request, payment))


def remember_return(request: HttpRequest, session_id: str) -> None:
    """Remember in the Django session that the person has returned from the Checkout Session `session_id`."""
    request.session[RETURNED] = session_id


def is_confirming(request: HttpRequest, payment: Payment) -> bool:
    """Return whether the person has returned from a Checkout Session for this payment that isn't known to be complete.

    A person who got instructions to pay, such as a voucher's number, has not paid yet, so nothing is to be confirmed.
    """
    session_id = request.session.get(RETURNED)
    if not session_id or not payment.amount_owed or payment.has_instructions:
        return False
    return payment.facts.filter(kind=Kind.SESSION, stripe_id=session_id, status="open").exists()
