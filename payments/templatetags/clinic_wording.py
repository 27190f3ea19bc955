"""Template tags that describe a payment's status, or one of its changes, in words."""

import datetime
import functools

from django import template
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import get_language

from appointments.models import Appointment

from .. import wording
from ..domain.status import PaymentStatus
from ..models import Payment, StatusChange

register = template.Library()


@register.filter
def status_label(status: str) -> str:
    """Return a payment status as text: `{{ payment.status|status_label }}`.

    Unlike `get_status_display`, which each time translates all choices, this filter translates only the label it needs.
    """
    return str(PaymentStatus(status).label)


@register.filter
def source_label(source: str) -> str:
    """Return the source of a payment's change as text, such as "Front desk": `{{ change.source|source_label }}`."""
    return str(StatusChange.Source(source).label)


@register.filter
def attendance_label(attendance: str) -> str:
    """Return an appointment's status as text, such as "Attended": `{{ appointment.status|attendance_label }}`."""
    return str(Appointment.Status(attendance).label)


@register.filter(expects_localtime=True)
def clock(moment: datetime.datetime) -> str:
    """Return the time of day, such as "09:05". Django's `date:"H:i"` returns the same but takes three times as long."""
    return f"{moment:%H:%M}"


@register.filter(expects_localtime=True)
def iso(moment: datetime.datetime) -> str:
    """Return the moment in ISO 8601. Django's `date:"c"` returns the same but takes three times as long."""
    return moment.isoformat()


@register.filter
def to_the_second(moment: datetime.datetime) -> SafeString:
    """Return an element <time> with a date and a time with seconds: `{{ change.created_at|to_the_second }}`."""
    local = timezone.localtime(moment)
    day = _day(local.date(), get_language())
    return format_html('<time datetime="{}">{} {}</time>', local.isoformat(), day, f"{local:%H:%M:%S}")


@functools.lru_cache(maxsize=64)
def _day(day: datetime.date, _language: str | None) -> str:
    """Return the day in the format of the active language. `_language` isn't used, but it separates cached results."""
    return date_format(day, "DATE_FORMAT")


@register.simple_tag
def explain(payment: Payment, audience: str) -> str:
    """Return one or two sentences about the payment's status; `audience` is "staff" or "patient"."""
    return wording.explain(payment, to_staff=audience == "staff")


@register.simple_tag
def describe(change: StatusChange, audience: str) -> str:
    """Return the text that the timeline shows for this change; `audience` is "staff" or "patient"."""
    return wording.describe(change, to_staff=audience == "staff")


@register.simple_tag
def about_the_card(payment: Payment, audience: str) -> str:
    """Return what is asked for in advance, or which card is kept; `audience` is "staff" or "patient"."""
    return wording.about_the_card(payment, to_staff=audience == "staff")


@register.filter
def card_label(payment: Payment) -> str:
    """Return the kept card as text, such as "Visa •• 4242": `{{ payment|card_label }}`."""
    return wording.card_label(payment)
