"""Says what another price or deposit means for a payment, before anybody saves it."""

from dataclasses import replace

from django.utils.translation import gettext as _

from appointments.money import format_amount

from ..domain.status import PaymentStatus, derive
from ..models import Payment


def consequence_of(payment: Payment, price: int, deposit: int) -> str:
    """Return a sentence for staff that says what will be owed or overpaid at this price and deposit, in minor units."""
    terms = replace(payment.terms, price=price, deposit=deposit)
    amounts = derive([fact.value for fact in payment.facts.all()], terms).amounts
    words = {"price": format_amount(price, payment.currency)}
    if amounts.overpaid:
        words["amount"] = format_amount(amounts.overpaid, payment.currency)
        return _("With the price at %(price)s, %(amount)s were paid too much; you can refund them.") % words
    words["amount"] = format_amount(amounts.owed, payment.currency)
    if payment.status == PaymentStatus.CHECKOUT_OPEN:
        return (
            _(
                "With the price at %(price)s, the patient will owe %(amount)s. The patient’s open payment page will be"
                " closed."
            )
            % words
        )
    return _("With the price at %(price)s, the patient will owe %(amount)s.") % words
