"""Creates PaymentMethods from test cards and IBANs, and finds a PaymentMethod's test card by its fingerprint."""

from typing import Any

from stripe_sandbox import cards, vouchers
from stripe_sandbox.cards import TestMethod
from stripe_sandbox.errors import StripeError, missing_param
from stripe_sandbox.sandbox import Sandbox
from stripe_sandbox.store import Json


def create_card(sandbox: Sandbox, test: TestMethod, billing: Json, exp: tuple[int, int] = (8, 2034)) -> Json:
    """Create a PaymentMethod from the test card `test`, with `billing` details and the expiry `exp` (month, year)."""
    card = {
        "brand": test.brand,
        "checks": {"address_line1_check": None, "address_postal_code_check": None, "cvc_check": "pass"},
        "country": test.country,
        "display_brand": test.brand,
        "exp_month": exp[0],
        "exp_year": exp[1],
        "fingerprint": test.fingerprint,
        "funding": test.funding,
        "generated_from": None,
        "last4": test.last4,
        "networks": {"available": [test.brand], "preferred": None},
        "regulated_status": "unregulated",
        "three_d_secure_usage": {"supported": True},
        "wallet": None,
    }
    return _create(sandbox, "card", card, billing)


def create_sepa_debit(sandbox: Sandbox, test: TestMethod, billing: Json) -> Json:
    debit = {
        "bank_code": test.number[4:9],
        "branch_code": "",
        "country": test.number[:2],
        "fingerprint": test.fingerprint,
        "generated_from": {"charge": None, "setup_attempt": None},
        "last4": test.last4,
    }
    return _create(sandbox, "sepa_debit", debit, billing)


def create_voucher(sandbox: Sandbox, kind: str, billing: Json) -> Json:
    """Create a PaymentMethod with which the customer pays later: multibanco (voucher) or customer_balance (transfer).

    `kind` is one of these two names.
    """
    return _create(sandbox, kind, {}, billing)


def _create(sandbox: Sandbox, kind: str, details: Json, billing: Json) -> Json:
    method = sandbox.new("payment_method", type=kind, **{kind: details})
    method["billing_details"] |= {key: value for key, value in billing.items() if key in method["billing_details"]}
    return method


def create_from_params(sandbox: Sandbox, params: Json) -> Json:
    """Create a PaymentMethod from an API call's parameters: a card number, a card token or an IBAN.

    Raises StripeError if they are missing or invalid.
    """
    billing = params.get("billing_details", {})
    match params.get("type"):
        case "card":
            card = params.get("card") or {}
            test = cards.by_token(card["token"]) if "token" in card else cards.card(card.get("number", ""))
            if test is None:
                raise StripeError(f"No such token: '{card['token']}'", code="resource_missing", param="card[token]")
            exp = int(card.get("exp_month", 8)), int(card.get("exp_year", 2034))
            return create_card(sandbox, test, billing, exp)
        case "sepa_debit":
            iban = (params.get("sepa_debit") or {}).get("iban", "").replace(" ", "").upper()
            if not cards.iban_valid(iban):
                message = "The IBAN you provided is invalid."
                raise StripeError(message, code="invalid_bank_account_iban", param="sepa_debit[iban]")
            return create_sepa_debit(sandbox, cards.bank_account(iban), billing)
        case None:
            raise missing_param("type")
        case other:
            raise StripeError(f"Invalid type: must be one of card or sepa_debit, not {other}", param="type")


def get_or_create(sandbox: Sandbox, method_id: str) -> Json:
    """Return the PaymentMethod with this id; a test name such as `pm_card_visa` creates one, as at Stripe.

    Raises StripeError resource_missing for an unknown id.
    """
    test = cards.by_token(method_id) if method_id.startswith("pm_card_") else None
    if test:
        return create_card(sandbox, test, {})
    return sandbox.store.get("payment_method", method_id, "payment_method")


def test_of(method: Json) -> TestMethod:
    """Return the test card or IBAN that the PaymentMethod was made from.

    For any other card, return one that is always declined; for any other IBAN, one whose debits stay processing.
    """
    details: dict[str, Any] = method[method["type"]]
    found = cards.by_fingerprint(details.get("fingerprint", ""))
    if found:
        return found
    return TestMethod(details.get("last4", ""), decline="test_mode_live_card" if method["type"] == "card" else None)


def charge_details(method: Json, authenticated: bool, amount: int) -> Json:
    """Return the `payment_method_details` of a charge of `amount` minor units with this PaymentMethod.

    `authenticated` says whether the customer passed 3-D Secure.
    """
    details = method[method["type"]]
    if method["type"] == "sepa_debit":
        shown = {key: details[key] for key in ("bank_code", "branch_code", "country", "fingerprint", "last4")}
        return {"sepa_debit": {**shown, "mandate": None}, "type": "sepa_debit"}
    if method["type"] in vouchers.KINDS:
        return vouchers.charge_details(method)
    shown = {key: details[key] for key in ("brand", "checks", "country", "exp_month", "exp_year", "fingerprint")}
    return {"card": {**_CARD_DETAILS, **shown, **_network(details, authenticated, amount)}, "type": "card"}


def _network(card: Json, authenticated: bool, amount: int) -> Json:
    secure = {
        "authentication_flow": "challenge",
        "electronic_commerce_indicator": "05",
        "exemption_indicator": None,
        "result": "authenticated",
        "result_reason": None,
        "transaction_id": None,
        "version": "2.2.0",
    }
    return {
        "amount_authorized": amount,
        "funding": card["funding"],
        "last4": card["last4"],
        "network": card["brand"],
        "overcapture": {"maximum_amount_capturable": amount, "status": "unavailable"},
        "three_d_secure": secure if authenticated else None,
    }


_CARD_DETAILS: Json = {
    "authorization_code": None,
    "extended_authorization": {"status": "disabled"},
    "incremental_authorization": {"status": "unavailable"},
    "installments": None,
    "mandate": None,
    "multicapture": {"status": "unavailable"},
    "network_token": {"used": False},
    "network_transaction_id": None,
    "regulated_status": "unregulated",
    "transaction_link_id": None,
    "wallet": None,
}
