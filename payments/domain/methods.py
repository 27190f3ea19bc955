"""Payment methods: the front desk's own, and labels for the payment method types of Stripe."""

from django.db.models import TextChoices
from django.utils.translation import gettext_lazy as _


class Method(TextChoices):
    """A payment method of the front desk. To offer another method, add a line here and translate its label."""

    CASH = "cash", _("Cash")
    TERMINAL = "terminal", _("Card terminal")
    CHEQUE = "cheque", _("Cheque")
    TRANSFER = "transfer", _("Bank transfer")
    INSURER = "insurer", _("Insurer")


# https://docs.stripe.com/api/payment_methods/object#payment_method_object-type: the types that clinics meet.
STRIPE_LABELS = {
    "card": _("Card"),
    "sepa_debit": _("SEPA Direct Debit"),
    "link": _("Link"),
    "paypal": _("PayPal"),
    "bancontact": _("Bancontact"),
    "ideal": _("iDEAL"),
    "customer_balance": _("Bank transfer"),
}


def method_label(method: str) -> str:
    """Return the label of a desk method or Stripe payment method type in the active language; "" for ""."""
    if method in Method.values:
        return str(Method(method).label)
    return str(STRIPE_LABELS.get(method, method.replace("_", " ")))
