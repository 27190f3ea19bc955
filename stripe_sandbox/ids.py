"""Ids like Stripe's: a prefix for the object's type, then random characters."""

import secrets
import string

_ALPHABET = string.ascii_letters + string.digits

PREFIXES = {
    "account": "acct_",
    "balance_transaction": "txn_",
    "bank_account": "ba_",
    "charge": "ch_",
    "checkout.session": "cs_test_",
    "customer": "cus_",
    "dispute": "du_",
    "event": "evt_",
    "item": "li_",
    "payment_intent": "pi_",
    "payment_method": "pm_",
    "payout": "po_",
    "price": "price_",
    "product": "prod_",
    "refund": "re_",
    "setup_intent": "seti_",
    "webhook_endpoint": "we_",
}


def token(length: int = 24) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


def new_id(kind: str) -> str:
    return PREFIXES[kind] + token(58 if kind == "checkout.session" else 24)


def kind_of(object_id: str) -> str | None:
    """Return the object type that the id's prefix stands for, or None if the prefix is unknown."""
    return next((kind for kind, prefix in PREFIXES.items() if object_id.startswith(prefix)), None)
