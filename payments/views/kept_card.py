"""Pages about kept cards: a patient leaves one or has it removed, and staff charge a fee to it."""

import datetime
import uuid

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.translation import get_language
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from appointments.money import format_amount

from ..desk.no_show_fees import NotChargeableError, charge_fee
from ..domain.cards import CardState
from ..forms import key_of
from ..gateway import consent, fees, kept_cards
from ..gateway.checkout import NotPayableError, TooManyPagesError
from ..gateway.client import StripeRefusedError, StripeUnavailableError
from ..gateway.fees import DeclinedError
from ..models import PayLink, Payment
from ..models.pay_link import LinkState
from ..wording import card_label, decline_reason
from .access import Request, open_payment_or_404, staff_required
from .pay_link import with_link


def _own_or_404(request: Request, public_id: uuid.UUID) -> Payment:
    """Return the signed-in patient's own payment, because nobody else may agree to anything for the patient.

    Raises Http404 for everybody else's payment.
    """
    own = Payment.objects.filter(appointment__patient=request.user.pk).with_appointment()
    return get_object_or_404(own, public_id=public_id)


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def keep_card(request: Request, public_id: uuid.UUID) -> HttpResponseBase:
    """Ask the patient to agree to what a card is kept for; on POST redirect to Stripe's page on which to leave it.

    Stripe redirects the patient back here, with the Checkout Session's id as `session_id` in the query string.
    """
    payment = _own_or_404(request, public_id)
    page = reverse("clinic:appointment", args=[payment.appointment.reference])
    return _keep(request, payment, page, reverse("clinic:keep_card", args=[public_id]))


@require_http_methods(["GET", "HEAD", "POST"])
@with_link
def keep_card_by_link(request: HttpRequest, token: str, link: PayLink) -> HttpResponseBase:
    """Do what `keep_card` does for a person who has opened a pay link; redirect to its page if the link isn't open."""
    page = reverse("clinic:pay_link", args=[token])
    if link.state != LinkState.OPEN:
        return redirect(page)
    return _keep(request, link.payment, page, reverse("clinic:keep_card_by_link", args=[token]))


def _keep(request: HttpRequest, payment: Payment, page: str, action: str) -> HttpResponseBase:
    """Handle a request for the path `action`, the form's own; `page` is the path to which people go afterwards."""
    if session_id := request.GET.get("session_id"):
        if not session_id.isprintable() or not kept_cards.is_setup_page(payment, session_id):
            raise Http404
        if kept_cards.read_card(payment, session_id):
            messages.success(request, _("Your card is kept. Nothing was charged."))
        return redirect(page)
    if not payment.wants_card:
        messages.info(request, _("No card is asked for now."))
        return redirect(page)
    if request.method != "POST":
        words = consent.words_of(payment, get_language() or "en")
        context = {"payment": payment, "appointment": payment.appointment, "words": words}
        return render(request, "payments/keep_card.html", context | {"page": page, "action": action})
    return _to_setup(request, payment, page, action)


def _to_setup(request: HttpRequest, payment: Payment, page: str, action: str) -> HttpResponseBase:
    """Redirect to Stripe's page on which to leave a card, or to the path `page` with a message if it can't be opened.

    Stripe redirects the patient to the path `action` afterwards.
    """
    back = request.build_absolute_uri(action)
    try:
        url = kept_cards.open_setup(
            payment,
            return_url=f"{back}?session_id={{CHECKOUT_SESSION_ID}}",
            cancel_url=request.build_absolute_uri(page),
            language=get_language() or "en",
        )
    except NotPayableError:
        messages.info(request, _("No card is asked for now."))
    except TooManyPagesError:
        messages.error(request, _("Too many pages were opened. Please try again in an hour."))
    except StripeRefusedError:
        messages.error(request, _("Stripe refused to open the page. Please call the front desk."))
    except StripeUnavailableError:
        messages.error(request, _("Stripe cannot be reached. Please try again in a minute."))
    else:
        return redirect(url)
    return redirect(page)


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def remove_card(request: Request, public_id: uuid.UUID) -> HttpResponseBase:
    """Ask the patient whether to remove the card that Stripe keeps; on POST remove it."""
    payment = _own_or_404(request, public_id)
    page = reverse("clinic:appointment", args=[payment.appointment.reference])
    return _remove(request, payment, page)


@require_http_methods(["GET", "HEAD", "POST"])
@staff_required
def remove_card_at_desk(request: Request, reference: str) -> HttpResponseBase:
    """Ask staff whether to remove the card that Stripe keeps for the patient; on POST remove it."""
    payment = open_payment_or_404(request, appointment__reference=reference.upper())
    return _remove(request, payment, reverse("clinic:desk_appointment", args=[payment.appointment.reference]))


def _remove(request: Request, payment: Payment, page: str) -> HttpResponseBase:
    if payment.card != CardState.KEPT:
        messages.info(request, _("No card is kept."))
        return redirect(page)
    if request.method != "POST":
        context = _about(payment) | {"page": page, "action": request.path}
        return render(request, "payments/remove_card.html", context)
    try:
        kept_cards.remove_card(payment, request.user)
    except (StripeRefusedError, StripeUnavailableError):
        messages.error(request, _("Stripe cannot be reached, and the card is still kept. Please try again later."))
    else:
        messages.success(request, _("The card is removed."))
    return redirect(page)


@require_http_methods(["GET", "HEAD", "POST"])
@staff_required
def charge_no_show_fee(request: Request, reference: str) -> HttpResponseBase:
    """Show what the patient agreed to, and ask whether to charge the fee to the kept card; on POST charge it."""
    payment = open_payment_or_404(request, appointment__reference=reference.upper())
    key = key_of(request.POST)
    if fees.was_requested(payment, key):  # the form was sent twice
        return redirect("clinic:desk_appointment", payment.appointment.reference)
    if request.method != "POST":
        return _fee_page(request, payment, key)
    posted = request.POST.get("amount", "")
    amount, card = int(posted) if posted.isascii() and posted.isdigit() else 0, card_label(payment)
    try:
        charge_fee(payment, amount, request.user, key=key)
    except DeclinedError as error:
        return _fee_page(request, payment, uuid.uuid4().hex, _declined(error), ask_patient=_asks_patient(error))
    except NotChargeableError:
        changed = _("This payment has changed in the meantime, so nothing was charged. Check it and try again.")
        return _fee_page(request, payment, key, changed)
    except (StripeRefusedError, StripeUnavailableError):
        if not fees.was_requested(payment, key):
            return _fee_page(request, payment, key, _("Stripe cannot be reached. Nothing was charged."))
        messages.warning(
            request, _("Stripe did not answer. This site finds out by itself whether the card was charged.")
        )
    else:
        words = _("%(amount)s charged to %(card)s.")
        messages.success(request, words % {"amount": format_amount(amount, payment.currency), "card": card})
    return redirect("clinic:desk_appointment", payment.appointment.reference)


def _asks_patient(error: DeclinedError) -> bool:
    return error.code == fees.AUTHENTICATION_REQUIRED


def _declined(error: DeclinedError) -> str:
    """Return the text that tells staff why the card wasn't charged."""
    if _asks_patient(error):
        return _("The bank wants the patient to confirm this payment. Nothing was charged.")
    words = _("The card was declined (%(reason)s). Nothing was charged, and the fee is still owed.")
    return words % {"reason": decline_reason(error.code)}


def _fee_page(request: Request, payment: Payment, key: str, *errors: str, ask_patient: bool = False) -> HttpResponse:
    """Render the page that asks whether to charge the fee; with `errors` it says why the last try failed."""
    payment = open_payment_or_404(request, pk=payment.pk)
    context = _about(payment) | {"key": key, "errors": errors, "ask_patient": ask_patient}
    return render(request, "payments/charge_fee.html", context, status=409 if errors else 200)


def _about(payment: Payment) -> dict[str, object]:
    """Return the template context about a payment and what its patient agreed to before leaving a card."""
    agreement = kept_cards.kept_card(payment).agreement
    agreed_at = agreement and datetime.datetime.fromtimestamp(agreement.at, datetime.UTC)
    return {
        "payment": payment,
        "appointment": payment.appointment,
        "agreement": agreement,
        "agreed_at": agreed_at,
    }
