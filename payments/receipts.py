"""What a receipt says. The receipt's page, the page that a paid link shows and the e-mails about money show it."""

import datetime
from collections.abc import Iterable
from dataclasses import dataclass

from django.db.models import prefetch_related_objects
from django.utils import timezone

from .conf import app_settings
from .desk.journal import Line, all_lines_of
from .domain.facts import Kind
from .gateway.means import means_of
from .models import Fact, Payment

MONEY = ("received", "refunded", "lost")  # the sums that a receipt's lines add up to


@dataclass(frozen=True, slots=True)
class ReceiptLine:
    """One movement of money. `label` says what happened and how, such as "Payment · Visa ending in 4242".

    `amount` is in minor units of `currency`, negative for money that leaves the clinic.
    """

    when: datetime.datetime
    label: str
    amount: int
    currency: str


@dataclass(frozen=True, slots=True)
class Receipt:
    """A payment's receipt. Amounts are in minor units of the payment's currency.

    `number` changes whenever money moves, so a number stands for one set of lines. `total` leaves out lines in
    other currencies. `fee` is what the clinic keeps of a canceled visit, or 0. `legal` are the clinic's legal lines.
    """

    payment: Payment
    number: str
    lines: list[ReceiptLine]
    total: int
    fee: int
    legal: list[str]
    printed: datetime.datetime


def receipt_of(payment: Payment) -> Receipt:
    """Return the payment's receipt as of now, in the active language."""
    prefetch_related_objects([payment], "facts__actor")
    lines, charges = all_lines_of(payment), _charges(payment.facts.all())
    means = means_of({charge_id for line in lines if (charge_id := _charge_of(line.fact, charges))})
    return Receipt(
        payment=payment,
        number=_number(payment),
        lines=[_line(line, means.get(_charge_of(line.fact, charges), "")) for line in lines],
        total=sum(line.amount for line in lines if line.movement.currency == payment.currency),
        fee=payment.terms.fee if payment.terms.canceled else 0,
        legal=app_settings.CLINIC_LEGAL_LINES,
        printed=timezone.now(),
    )


def _line(line: Line, means: str) -> ReceiptLine:
    """Return the line for a receipt. `means` names the card or account that paid; "" if it isn't known."""
    label = f"{line.movement.kind.label} · {means}" if means else line.label
    return ReceiptLine(line.when, label, line.amount, line.movement.currency)


def _charges(facts: Iterable[Fact]) -> dict[str, str]:
    """Return the charge of each PaymentIntent among the payment's facts (states of Stripe objects), by their ids.

    A PaymentIntent may have had several charges, of which at most one succeeded: that one counts.
    """
    known = [row for row in facts if row.payment_intent_id and row.charge_id]
    succeeded = [row for row in known if row.kind == Kind.CHARGE and row.status == "succeeded"]
    return {row.payment_intent_id: row.charge_id for row in [*known, *succeeded]}


def _charge_of(fact: Fact, charges: dict[str, str]) -> str:
    """Return the id of the charge that the fact is about, or "" if it isn't known. `charges` is by PaymentIntent id."""
    of_intent = charges.get(fact.payment_intent_id, "")
    return of_intent or fact.charge_id if fact.kind in (Kind.SESSION, Kind.INTENT) else fact.charge_id or of_intent


def _number(payment: Payment) -> str:
    """Return the receipt's number: the appointment's reference and the version at which money last moved."""
    version, before = 0, [0] * len(MONEY)
    for number, standing in payment.changes.order_by("version").values_list("version", "standing"):
        sums = [standing["amounts"][name] for name in MONEY]
        if sums != before:
            version, before = number, sums
    return f"{payment.appointment.reference}-{version}"
