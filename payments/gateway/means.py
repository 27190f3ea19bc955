"""Names the card or account that paid a charge, from dj-stripe's copies of charges, without asking Stripe."""

from collections.abc import Collection, Mapping
from typing import Any

from django.utils.translation import gettext as _
from djstripe.models import Charge

from ..domain.methods import method_label

# https://docs.stripe.com/api/charges/object#charge_object-payment_method_details-card-brand
BRANDS = {
    "amex": "American Express",
    "cartes_bancaires": "CB",
    "diners": "Diners Club",
    "discover": "Discover",
    "eftpos_au": "Eftpos",
    "jcb": "JCB",
    "mastercard": "Mastercard",
    "unionpay": "UnionPay",
    "visa": "Visa",
}


def means_of(charge_ids: Collection[str]) -> dict[str, str]:
    """Return what paid each of these charges, such as "Visa ending in 4242", in the active language, by charge id.

    A charge is left out if `manage.py mirror` has not copied it yet, if its payer was erased, or if what paid has no
    last four digits.
    """
    if not charge_ids:
        return {}
    rows = Charge.objects.filter(id__in=charge_ids).values_list("id", "stripe_data")
    return {charge_id: words for charge_id, charge in rows if (words := _words(charge or {}))}


def _words(charge: Mapping[str, Any]) -> str:
    details = charge.get("payment_method_details") or {}
    method = str(details.get("type") or "")
    means = details.get(method) or {}
    if not means.get("last4"):
        return ""
    brand = str(means.get("display_brand") or means.get("brand") or "")
    name = BRANDS.get(brand, method_label(method))
    return _("%(card)s ending in %(digits)s") % {"card": name, "digits": means["last4"]}
