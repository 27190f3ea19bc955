"""Payments whose money comes later, Multibanco vouchers and bank transfers, and how the customer is told to pay.

https://docs.stripe.com/payments/multibanco and https://docs.stripe.com/payments/bank-transfers
"""

import hashlib

from stripe_sandbox.sandbox import Sandbox
from stripe_sandbox.store import Json

KINDS = ("multibanco", "customer_balance")  # types of PaymentMethod
LIFETIME = 7 * 86_400  # seconds in which a voucher can be paid
_ENTITY = "12345"  # of Multibanco: whom the customer pays
_BANK_ACCOUNT: Json = {
    "account_holder_address": {"city": "Paris", "country": "FR", "line1": "1 rue de la Paix", "postal_code": "75002"},
    "account_holder_name": "Stripe sandbox",
    "bank_address": {"city": "Paris", "country": "FR", "line1": "2 rue de la Paix", "postal_code": "75002"},
    "bic": "SOGEFRPPXXX",
    "country": "FR",
    "iban": "FR1420041010050500013M02606",
}
_NEXT_ACTIONS = ("multibanco_display_details", "display_bank_transfer_instructions")


def awaits_money(intent: Json) -> bool:
    """Return whether the customer was given a voucher or bank details but hasn't paid yet."""
    return bool(intent["status"] == "requires_action" and (intent["next_action"] or {}).get("type") in _NEXT_ACTIONS)


def next_action(sandbox: Sandbox, intent: Json, method: Json) -> Json:
    """Return the intent's `next_action`, which tells the customer how to pay with this PaymentMethod."""
    url = f"{sandbox.settings.public_url}/instructions/{intent['id']}"
    if method["type"] == "multibanco":
        voucher = _voucher(method) | {"expires_at": sandbox.now() + LIFETIME, "hosted_voucher_url": url}
        return {"multibanco_display_details": voucher, "type": "multibanco_display_details"}
    transfer = {
        "amount_remaining": intent["amount"],
        "currency": intent["currency"],
        "financial_addresses": [{"iban": dict(_BANK_ACCOUNT), "supported_networks": ["sepa"], "type": "iban"}],
        "hosted_instructions_url": url,
        "reference": _reference(method),
        "type": "eu_bank_transfer",
    }
    return {"display_bank_transfer_instructions": transfer, "type": "display_bank_transfer_instructions"}


def charge_details(method: Json) -> Json:
    """Return the `payment_method_details` of a charge paid by voucher or bank transfer."""
    if method["type"] == "multibanco":
        return {"multibanco": _voucher(method), "type": "multibanco"}
    return {"customer_balance": {}, "type": "customer_balance"}


def refund_destination(method: Json) -> Json:
    """Return the `destination_details` of a refund of a charge paid by voucher or bank transfer."""
    if method["type"] == "multibanco":
        return {"multibanco": {"reference": None, "reference_status": "pending"}, "type": "multibanco"}
    return {"customer_cash_balance": {}, "type": "customer_cash_balance"}


def _voucher(method: Json) -> Json:
    return {"entity": _ENTITY, "reference": _reference(method)}


def _reference(method: Json) -> str:
    """Return the nine-digit reference that the customer gives when paying the voucher or transfer."""
    return f"{int(hashlib.sha256(method['id'].encode()).hexdigest(), 16) % 10**9:09d}"
