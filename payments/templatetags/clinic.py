"""Template tags for the parts of a page that update by themselves.

docs/components.md describes them.
"""

from functools import cache
from typing import Any
from urllib.parse import urlsplit

from django import template
from django.apps import apps
from django.conf import settings
from django.contrib import admin
from django.http import QueryDict
from django.shortcuts import resolve_url
from django.template.context import Context
from django.template.loader import render_to_string
from django.templatetags.static import static
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import get_language

from appointments.models import Appointment
from appointments.money import format_amount
from people import sign_in

from ..desk import transfers
from ..desk.news import newest_news
from ..live.feeds import audience_of
from ..live.timing import POLL_SECONDS
from ..live.traces import traces
from ..models import Note, Payment, StatusChange
from ..models.feed import STAFF

register = template.Library()


@register.filter
def money(amount: int, currency: str) -> str:
    """Format an amount in minor units of a currency: `{{ payment.amount_due|money:payment.currency }}`."""
    return format_amount(amount, currency)


@register.simple_tag
@cache
def icon(name: str) -> SafeString:
    """Render the icon of this name from payments/img/icons.svg: `{% icon "receipt" %}`. The HTML is cached."""
    file = static("payments/img/icons.svg")
    return format_html('<svg class="icon" aria-hidden="true"><use href="{}#{}"/></svg>', file, name)


@register.inclusion_tag("payments/_payment_notification_provider.html", takes_context=True)
def payment_notification_provider(context: Context) -> dict[str, Any]:
    """Render the element and scripts that keep a page up to date; render nothing if nobody is signed in.

    Only _live.html uses this tag.
    """
    request: Any = context.get("request")
    feed = getattr(request, "live_feed", "")
    if not feed:
        return {}
    query = QueryDict(mutable=True)
    query.update({"feed": feed, "lang": get_language() or ""})
    asked = query.urlencode()
    return {
        "feed": feed,
        "cursor": request.live_cursor,
        "epoch": request.live_epoch,
        "poll": f"{reverse('clinic:payments_live')}?{asked}",
        "poll_seconds": POLL_SECONDS,
        "socket": f"{reverse('clinic:payments_socket')}?{asked}",
    }


@register.inclusion_tag("payments/_payment_status_notifier.html", takes_context=True)
def payment_status_notifier(context: Context) -> dict[str, Any]:
    """Render the region in which toasts appear; for staff, one line with the newest news and the connection's state.

    Only _live.html and _foot.html use this tag.
    """
    request: Any = context.get("request")
    shown: dict[str, Any] = {"audience": "patient", "request": request}
    if getattr(request, "live_feed", "") == STAFF:
        shown |= {"audience": "staff", "news": newest_news(request.live_cursor)}
    return shown


@register.simple_tag(takes_context=True)
def back_to_desk(context: Context, appointment: Appointment) -> str:
    """Return the path of the desk's page about the appointment, with the filters that the page before had, if any."""
    page = urlsplit(context["request"].headers.get("Referer", ""))
    desk = reverse("clinic:desk")
    if page.path == desk and page.netloc == context["request"].get_host():
        return f"{desk}?{page.query}"
    return reverse("clinic:desk_appointment", args=[appointment.reference])


@register.simple_tag
def sign_in_path() -> str:
    """Return the path of the page on which people sign in: `{% sign_in_path as path %}`."""
    return resolve_url(settings.LOGIN_URL)


@register.simple_tag
def security_path() -> str:
    """Return the path of the page where people change how they sign in, or "" if the project has none."""
    name = sign_in.current().security_page
    return reverse(name) if name else ""


@register.simple_tag(takes_context=True)
def page_attributes(context: Context) -> SafeString:
    """Render the attributes by which styles know the reader: `<body {% page_attributes %}>`.

    A view of a page that fills the window, such as the day list, sets `split` in its context.
    """
    user: Any = context.get("user")
    names = ["payments-page"]
    if user and user.is_staff:
        names += ["staff", "desk-page"] if context.get("split") else ["staff"]
    may_refund = bool(user) and user.has_perm("clinic_payments.refund_payment")
    return format_html('class="{}"{}', " ".join(names), " data-may-refund" if may_refund else "")


@register.simple_tag(takes_context=True)
def may_administer(context: Context) -> bool:
    """Return whether the administration has anything for the page's user: `{% may_administer as administers %}`."""
    request: Any = context["request"]
    administered = map(admin.site.get_model_admin, filter(admin.site.is_registered, apps.get_models()))
    return any(
        each.has_module_permission(request) and any(each.get_model_perms(request).values()) for each in administered
    )


@register.simple_tag(takes_context=True)
def to_review_count(context: Context) -> int:
    """Return how many payments need a review: `{% to_review_count as count %}`. A page counts them once."""
    request: Any = context["request"]
    if not hasattr(request, "to_review"):
        request.to_review = Payment.objects.to_review().count()
    return int(request.to_review)


@register.inclusion_tag("payments/_payment_connection_state.html", takes_context=True)
def payment_connection_state(context: Context) -> dict[str, Any]:
    """Render the indicator that tells whether the page is live, reconnecting, polling, offline or signed out.

    When signed out, the indicator links to the sign-in page in another tab, so that what was typed on this page stays.
    """
    return {"request": context.get("request")}


@register.inclusion_tag("payments/_payment_refresh_button.html", takes_context=True)
def payment_refresh_button(context: Context) -> dict[str, Any]:
    """Render the button that fetches changes at once. Without JavaScript the button reloads the page."""
    return {"request": context.get("request")}


@register.inclusion_tag("payments/_payment_status_display.html", takes_context=True)
def payment_status_display(context: Context, payment: Payment) -> dict[str, Any]:
    """Render a payment's status: icon, words and amounts."""
    return about(context, payment)


@register.inclusion_tag("payments/_payment_actions.html", takes_context=True)
def payment_actions(context: Context, payment: Payment) -> dict[str, Any]:
    """Render the buttons for a payment, such as "Pay online". The page has to contain the forms that they submit."""
    return about(context, payment)


@register.inclusion_tag("payments/_payment_timeline.html", takes_context=True)
def payment_timeline(context: Context, payment: Payment) -> dict[str, Any]:
    """Render all changes of a payment, oldest first.

    Staff also see the notes of staff, and each change's trace: the times from Stripe's event to the patient's screen.
    """
    changes = list(payment.changes.select_related("actor", "email").order_by("version"))
    shown = about(context, payment)
    before: dict[str, int] = {}
    for change in changes:
        change.before = before  # type: ignore[attr-defined]
        before = change.standing["amounts"]
    if shown["audience"] != "staff":
        return shown | {"moments": changes}
    found = traces(changes)
    for change in changes:
        change.trace = found[change.pk]
    moments: list[StatusChange | Note] = [*changes, *payment.notes.select_related("author")]
    return shown | {"moments": sorted(moments, key=lambda moment: moment.created_at)}


@register.inclusion_tag("payments/_at_stripe.html", takes_context=True)
def payment_at_stripe(context: Context, payment: Payment) -> dict[str, Any]:
    """Render fees, net amounts and transfers of a payment's money at Stripe, for people who may see transfers."""
    request: Any = context.get("request")
    if request is None or not request.user.has_perm("clinic_payments.view_transfers"):
        return {}
    return {"found": transfers.payment_at_stripe(payment)}


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
    """Wrap `content`, a list of appointments, in an element with the id `name` that updates the rows by itself.

    A button offers to show new appointments if they match the other arguments. `since` and `until` are the first and
    last date, `statuses` the payment statuses (separated by spaces), `practitioner` a primary key. With `review`, only
    payments that need a review match. An empty argument matches every appointment.
    """
    limits = {"since": since, "until": until, "statuses": statuses, "practitioner": practitioner, "review": review}
    component = {"content": content, "name": name, "limits": {key: str(limit or "") for key, limit in limits.items()}}
    return render_to_string("payments/_auto_refresh_appointments.html", component)


def about(context: Context, payment: Payment) -> dict[str, Any]:
    """Return the context in which a page renders a payment's fragments, such as its status.

    live/rendering.py uses the same names when it renders these fragments for open pages.
    """
    request = context.get("request")
    to_staff = request is not None and audience_of(request.user) == STAFF
    return {"payment": payment, "audience": "staff" if to_staff else "patient", "oob": False}
