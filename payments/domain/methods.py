"""How money was paid: the desk's own methods, and the labels of those that Stripe offers."""

from django.db.models import TextChoices
from django.utils.translation import gettext_lazy as _


class Method(TextChoices):
    """A way to pay at the desk. To offer another one, add its line here and translate its label."""

    CASH = "cash", _("Cash")
    TERMINAL = "terminal", _("Card terminal")


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
    """Return the translated label of a desk method or of a Stripe payment method type; "" for ""."""
    if method in Method.values:
        return str(Method(method).label)
    return str(STRIPE_LABELS.get(method, method.replace("_", " ")))
