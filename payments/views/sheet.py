"""The sheet: one appointment beside the day list, with its money, the ways to pay, movements, notes and history."""

from typing import Any, NamedTuple
from urllib.parse import urlsplit

from django.db.models import Case, F, Value, When, prefetch_related_objects
from django.http import QueryDict
from django.urls import reverse
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from people.unsent import typed

from ..desk import till
from ..desk.filters import DayFilter
from ..desk.journal import Line, all_lines_of
from ..desk.review import cases_of
from ..domain.methods import Method
from ..forms import NoteForm, TakePaymentForm, key_of
from ..models import Payment
from .access import Request
from .events import events_of
from .pay_link import link_and_code


class Way(NamedTuple):
    """A way to pay. `name` is "qr", "link" or a desk `Method`."""

    name: str
    label: str | Promise


ONLINE = [Way("qr", _("QR code")), Way("link", pgettext_lazy("way to pay", "Link"))]
AT_THE_DESK = [
    Way(Method.TERMINAL, _("Terminal")),
    Way(Method.CASH, _("Cash")),
    Way(Method.CHEQUE, _("Cheque")),
    Way(Method.TRANSFER, pgettext_lazy("way to pay", "Transfer")),
    Way(Method.INSURER, _("Insurer")),
]


def filter_of(request: Request, payment: Payment) -> DayFilter:
    """Return the filters of the day list beside which the payment is shown: by default, those of its own day.

    A form in the sheet posts to a URL without filters, but htmx says in a header which page sent it.
    """
    desk = reverse("clinic:desk")
    if request.path == desk:
        return DayFilter(request.GET)
    page = urlsplit(request.headers.get("HX-Current-URL", ""))
    if page.path == desk:
        return DayFilter(QueryDict(page.query))
    return DayFilter(QueryDict(f"day={timezone.localdate(payment.appointment.start)}"))


def links_of(chosen: DayFilter) -> dict[str, Any]:
    """Return the filters of the day list with two paths: of the list, and of an appointment beside it.

    The second path ends such that "appointment=…" can follow.
    """
    path, query = reverse("clinic:desk"), chosen.query()
    beside = path + query + ("" if query == "?" else "&")
    return {"filter": chosen, "list_page": path + query.removesuffix("?"), "beside": beside}


def sheet_context(
    request: Request, payment: Payment, chosen: DayFilter, note: NoteForm | None = None
) -> dict[str, Any]:
    """Return the context of the whole sheet; `note` is the form for a note if it was sent with errors."""
    written = typed(request, reverse("clinic:add_note", args=[payment.appointment.reference]))
    lines = lines_of(request, payment)
    return {
        **money_context(request, payment, chosen),
        "lines": lines,
        "events": events_of(payment),
        "notes": payment.notes.select_related("author"),
        "form": note or NoteForm(initial=written),
    }


def money_context(
    request: Request, payment: Payment, chosen: DayFilter, take: TakePaymentForm | None = None, key: str = ""
) -> dict[str, Any]:
    """Return the context of the sheet's part about money: what is owed, the ways to pay, and the chosen way's panel.

    `take` is the form of a payment at the desk if it was sent with errors, and `key` its idempotency key.
    """
    ways = [*(ONLINE if payment.payable_online else []), *(AT_THE_DESK if payment.amount_owed else [])]
    if take is None:
        written = typed(request, reverse("clinic:take_payment", args=[payment.appointment.reference]))
        take = TakePaymentForm(written, payment=payment)
    asked = take.data.get("method") or request.GET.get("way")
    way = next((each for each in ways if each.name == asked), ways[0] if ways else None)
    take.auto_id = "take_%s"  # a dialog with an amount of its own may lie over it
    lines = all_lines_of(payment)
    context = {
        "payment": payment,
        "appointment": payment.appointment,
        "ways": ways,
        "way": way,
        "take": take,
        "key": key or key_of(None),
        "cases": cases_of([payment]) if payment.reviews else [],
        "last": next((line for line in reversed(lines) if line.amount > 0), None),
        "next": None if payment.amount_owed else next_to_pay(payment),
        **links_of(chosen),
    }
    if way and way in ONLINE:
        context["link"], context["code"] = link_and_code(payment, request.user)
    return context


def lines_of(request: Request, payment: Payment) -> list[tuple[Line, bool]]:
    """Return the payment's lines (movements of money), each with whether the user may declare it a mistake."""
    prefetch_related_objects([payment], "facts__actor")
    mistakes = {entry.pk for entry in till.entries_of(payment) if till.may_reverse(entry, request.user)}
    return [(line, line.fact.pk in mistakes) for line in all_lines_of(payment)]


def next_to_pay(payment: Payment) -> Payment | None:
    """Return the payment of the day's next appointment, or else of its first, for which something is owed."""
    start = payment.appointment.start
    day = timezone.localdate(start)
    owing = Payment.objects.starting_between(day, day).filter(amount_owed__gt=0).exclude(pk=payment.pk)
    earlier = Case(When(appointment__start__lt=start, then=Value(1)), default=Value(0))
    return owing.with_appointment().order_by(earlier, F("appointment__start"), "pk").first()
