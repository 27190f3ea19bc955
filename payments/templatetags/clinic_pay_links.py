"""Template tags for staff's pages that show pay links and lead to the pages that send them."""

from typing import Any

from django import template
from django.template.context import Context

from ..desk.filters import DayFilter
from ..desk.pay_links import can_text, lines_of, requests_of
from ..emails import outbox
from ..models import Payment

register = template.Library()
LOOK_SECONDS = 4  # between two looks at whether an e-mail was sent


@register.inclusion_tag("payments/_send_link.html", takes_context=True)
def send_link(context: Context, payment: Payment) -> dict[str, Any]:
    """Render the ways to send the payment's link, and the payment's links with a button that ends each.

    The part follows the payment by itself. An e-mail changes no payment, so the part also looks until it is sent.
    """
    patient, emails = payment.appointment.patient, requests_of(payment)
    return {
        "csrf_token": context.get("csrf_token"),
        "payment": payment,
        "lines": lines_of(payment),
        "emails": emails,
        "is_sending": any(email.is_waiting for email in emails),
        "look_seconds": LOOK_SECONDS,
        "payable": payment.payable_online,
        "by_email": outbox.switched_on() and bool(patient.email),
        "without_address": outbox.switched_on() and not patient.email,
        "by_sms": can_text() and bool(patient.phone),
    }


@register.inclusion_tag("payments/_send_links.html")
def send_links(filters: DayFilter) -> dict[str, Any]:
    """Render the link to the page that sends pay links to the unpaid appointments of a day list with these filters."""
    return {"may_send": outbox.switched_on(), "query": filters.query()}
