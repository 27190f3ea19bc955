"""Pages on which staff send pay links by e-mail, to one patient or to all of a list, and by text message."""

from django.contrib import messages
from django.http import HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from ..desk import pay_links
from ..desk.filters import DayFilter
from ..desk.pay_links import NotTextedError, Recipient, recipients
from ..emails import outbox, requests
from ..emails.message import language_of
from ..models import PayLink, Payment
from .access import Request, desk_page, open_payment_or_404, staff_required


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@staff_required
def send_links(request: Request) -> HttpResponseBase:
    """Show who of a selection gets a pay link by e-mail, and who has no address; on POST queue the e-mails.

    The query string names the selection: one appointment by its `reference`, or the filters of a day list.
    """
    reference = request.GET.get("reference", "")
    if reference:
        payment = open_payment_or_404(request, appointment__reference=reference.upper())
        selected, back = Payment.objects.filter(pk=payment.pk), links_page(request, payment)
    else:
        chosen = DayFilter(request.GET)
        selected = chosen.rows(chosen.narrow(Payment.objects.visible_to(request.user)))
        back = reverse("clinic:desk") + chosen.query()
    found = recipients(selected)
    if request.method == "POST" and outbox.switched_on():
        named = set(request.POST.getlist("send"))
        if wanted := [each for each in found if each.name in named]:
            _queue(request, wanted)
            over_list = not reference and request.headers.get("HX-Target") == "dialog"  # which says what was sent
            return redirect(request.get_full_path() if over_list else back)
        if named:
            messages.info(request, _("Nothing was sent: these links have been sent or the payments have changed."))
            return redirect(back)
    context = {
        "reachable": [each for each in found if each.has_address],
        "unreachable": [each for each in found if not each.has_address],
        "one": bool(reference),
        "back": back,
        "none_chosen": request.method == "POST",
        "most": pay_links.MOST if len(found) == pay_links.MOST else 0,
        "switched_on": outbox.switched_on(),
    }
    return render(request, "payments/send_links.html", context, status=422 if request.method == "POST" else 200)


def links_page(request: Request, payment: Payment) -> str:
    """Return the path of the front desk's page about the payment's appointment, with its links shown."""
    return f"{desk_page(request, payment.appointment.reference)}?way=link"


def _queue(request: Request, wanted: list[Recipient]) -> None:
    """Queue the e-mails, and add a message that says how many."""
    sent = sum(requests.ask(each.payment, len(each.earlier), request.user) for each in wanted)
    words = ngettext("%(count)s link is being sent.", "%(count)s links are being sent.", sent) % {"count": sent}
    if left := len(wanted) - sent:
        more = ngettext(
            "%(count)s was left out, because the payment has just changed.",
            "%(count)s were left out, because the payments have just changed.",
            left,
        )
        words = f"{words} {more % {'count': left}}"
    messages.success(request, words)


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@staff_required
def send_sms(request: Request, reference: str) -> HttpResponseBase:
    """Show the text message with the pay link; on POST send it.

    Redirect to the appointment if nobody sends text messages here, if the patient has no phone number, or if nothing
    can be paid online.
    """
    payment = open_payment_or_404(request, appointment__reference=reference.upper())
    patient, page = payment.appointment.patient, links_page(request, payment)
    if not pay_links.can_text() or not patient.phone or not payment.payable_online:
        messages.info(request, _("No link can be sent by text message now."))
        return redirect(page)
    language = language_of(patient)
    if request.method == "POST":
        try:
            pay_links.text(payment, request.user, language)
        except NotTextedError:
            messages.error(request, _("The text message was not sent. Wait a minute, then try again."))
        else:
            messages.success(request, _("The link was sent by text message."))
        return redirect(page)
    link = PayLink.objects.offer(payment, PayLink.Channel.SMS, request.user)
    text = pay_links.text_for(payment, link, language)
    context = {"payment": payment, "appointment": payment.appointment, "patient": patient, "text": text}
    return render(request, "payments/send_sms.html", context)
