"""Says in words what a refund does: where the money goes, what is owed afterwards, and why a refund is refused."""

from dataclasses import replace
from typing import NamedTuple

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from appointments.money import format_amount

from ..domain.methods import Method, method_label
from ..gateway.refunds import NotRefundableError
from ..models import Payment
from .refund_limits import OverLimitError
from .refund_orders import STRIPE, Order, waives

REASONS = {
    "requested_by_customer": gettext_lazy("The patient asked for it"),
    "duplicate": gettext_lazy("Paid twice"),
    "canceled": gettext_lazy("The appointment was cancelled"),
    "goodwill": gettext_lazy("Goodwill gesture"),
    "fraudulent": gettext_lazy("Fraud"),
}


class OrderWords(NamedTuple):
    """An order in words: where the money goes, what is owed afterwards, and why the money is given back."""

    way: str
    afterwards: str
    reason: str


def words_of(payment: Payment, order: Order) -> OrderWords:
    return OrderWords(way_words(order), afterwards(payment, order), str(REASONS.get(order.reason, order.reason)))


def way_label(through: str) -> str:
    """Return the label of a way to give money back: `through` is STRIPE or a desk `Method`, such as cash."""
    return _("The card or account that paid") if through == STRIPE else method_label(through)


def way_words(order: Order) -> str:
    """Return words that say where the order's money goes, such as "At the desk: cash"."""
    if order.through == STRIPE:
        return _("Through Stripe, to the card or account that paid")
    return _("At the desk: %(method)s") % {"method": method_label(order.through).lower()}


def afterwards(payment: Payment, order: Order) -> str:
    """Return a sentence about what the patient will owe once the order and all pending refunds are carried out."""
    amounts = payment.amounts
    refunded = amounts.refunded + amounts.refund_pending + order.amount
    owed = replace(amounts, refunded=refunded, waived=amounts.waived + waives(payment, order)).owed
    if not owed:
        return _("Nothing will be owed.")
    return _("%(owed)s will still be owed.") % {"owed": format_amount(owed, payment.currency)}


def done_words(payment: Payment, order: Order) -> str:
    """Return a sentence that says that the money is given back, or on its way."""
    amount = format_amount(order.amount, payment.currency)
    if order.through == STRIPE:
        return _("Refund of %(amount)s sent to Stripe.") % {"amount": amount}
    method = method_label(Method(order.through)).lower()
    return _("Recorded: %(amount)s given back (%(method)s).") % {"amount": amount, "method": method}


def refusal_words(error: OverLimitError | NotRefundableError, payment: Payment, through: str) -> str:
    """Return a sentence that says why no money was given back; `through` is STRIPE or a desk `Method`, such as cash."""
    if isinstance(error, OverLimitError):
        most = format_amount(error.allowed, payment.currency)
        return _(
            "Your account may refund at most %(most)s of this payment. An accountant or a manager may refund more."
        ) % {"most": most}
    if error.code:
        return _("Stripe refused this refund (%(code)s). No money was refunded.") % {"code": error.code}
    remaining = format_amount(error.remaining, payment.currency)
    if through == STRIPE:
        return _("Only %(remaining)s can still be refunded through Stripe.") % {"remaining": remaining}
    return _("Only %(remaining)s can still be given back at the desk.") % {"remaining": remaining}
