"""Template tags of the live components (docs/components.md), available in every template without {% load %}."""

from collections.abc import Mapping
from functools import cache
from typing import Any

from django import template
from django.http import QueryDict
from django.template.context import Context
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import get_language

from appointments.money import format_amount

from ..live.feeds import audience_of
from ..live.timing import POLL_SECONDS
from ..live.traces import traces
from ..models import Note, Payment, StatusChange
from ..models.feed import STAFF

register = template.Library()


@register.filter
def money(amount: int, currency: str) -> str:
    """Format minor units of a currency: `{{ payment.amount_due|money:payment.currency }}`."""
    return format_amount(amount, currency)


@register.simple_tag
@cache
def icon(name: str) -> SafeString:
    """Render an icon of templates/icons/, cached in the process: `{% icon "receipt" %}`."""
    return mark_safe(render_to_string(f"icons/{name}.html"))  # noqa: S308 a file of ours


@register.inclusion_tag("payments/_payment_notification_provider.html", takes_context=True)
def payment_notification_provider(context: Context) -> dict[str, Any]:
    """Render what makes a page live, once in base.html; nothing when nobody is signed in."""
    request: Any = context.get("request")
    feed = getattr(request, "live_feed", "")
    if not feed:
        return {}
    query = QueryDict(mutable=True)
    query.update({"feed": feed, "lang": get_language() or ""})
    poll, socket = f"{reverse('clinic:payments_live')}?{query.urlencode()}", f"/ws/payments/?{query.urlencode()}"
    return {
        "feed": feed,
        "cursor": request.live_cursor,
        "poll": poll,
        "poll_seconds": POLL_SECONDS,
        "socket": socket,
    }


@register.inclusion_tag("payments/_payment_status_notifier.html")
def payment_status_notifier() -> dict[str, Any]:
    """Render the region where toasts appear, once in base.html."""
    return {}


@register.inclusion_tag("payments/_payment_connection_state.html")
def payment_connection_state() -> dict[str, Any]:
    """Render words that say whether the page is live."""
    return {}


@register.inclusion_tag("payments/_payment_refresh_button.html", takes_context=True)
def payment_refresh_button(context: Context) -> dict[str, Any]:
    """Render the button that fetches changes at once; without JavaScript it reloads the page."""
    return {"request": context.get("request")}


@register.inclusion_tag("payments/_payment_status_display.html", takes_context=True)
def payment_status_display(context: Context, payment: Payment) -> dict[str, Any]:
    """Render a payment's status: icon, words and amounts."""
    return about(context, payment)


@register.inclusion_tag("payments/_payment_actions.html", takes_context=True)
def payment_actions(context: Context, payment: Payment) -> dict[str, Any]:
    """Render the buttons for what may be done about a payment; their forms stand elsewhere on the page."""
    return about(context, payment)


@register.inclusion_tag("payments/_payment_timeline.html", takes_context=True)
def payment_timeline(context: Mapping[str, Any] | Context, payment: Payment) -> dict[str, Any]:
    """Every move of a payment, oldest first; for staff with their notes in between."""
    changes = list(payment.changes.select_related("actor", "email").order_by("version"))
    shown = about(context, payment)
    if shown["audience"] != "staff":
        return shown | {"moments": changes}
    found = traces(changes)
    for change in changes:
        change.trace = found[change.pk]  # type: ignore[attr-defined]
    moments: list[StatusChange | Note] = [*changes, *payment.notes.select_related("author")]
    return shown | {"moments": sorted(moments, key=lambda moment: moment.created_at)}


@register.simple_block_tag
def auto_refresh_appointments(
    content: str,
    since: object = "",
    until: object = "",
    statuses: str = "",
    practitioner: object = "",
    review: bool = False,
    name: str = "appointments",
) -> str:
    """Render a list of appointments whose rows update by themselves.

    A button offers to load appointments that are missing from the list: those on a day from `since` to `until`
    (dates), with one of the `statuses` (separated by spaces), with the `practitioner` (a primary key) and, if `review`
    is set, in need of review. An empty value matches everything.
    """
    limits = {"since": since, "until": until, "statuses": statuses, "practitioner": practitioner, "review": review}
    component = {"content": content, "name": name, "limits": {key: str(limit or "") for key, limit in limits.items()}}
    return render_to_string("payments/_auto_refresh_appointments.html", component)


def about(context: Mapping[str, Any] | Context, payment: Payment) -> dict[str, Any]:
    """Return the context of a payment's fragments, as live/rendering.py builds it for pushes."""
    request = context.get("request")
    to_staff = request is not None and audience_of(request.user) == STAFF
    return {"payment": payment, "audience": "staff" if to_staff else "patient", "oob": False}
