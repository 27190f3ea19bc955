"""Validates the form of the hosted Checkout page, and creates a PaymentMethod from its fields."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime

from stripe_sandbox import cards, methods
from stripe_sandbox.sandbox import Sandbox
from stripe_sandbox.store import Json

_EXP = re.compile(r"^(\d{1,2})\s*[/.-]?\s*(?:20)?(\d{2})$")


def check(typed: Mapping[str, str], session: Json, now: int) -> dict[str, str]:
    """Return the errors in the form fields `typed`: {field name: key of the message in texts.TEXTS}.

    `now` (Unix seconds) decides whether the card has expired.
    """
    errors = {}
    if not session["customer_email"]:
        email = typed.get("email", "").strip()
        if not email:
            errors["email"] = "required"
        elif not re.fullmatch(r"[^@\s]+@[^@\s]+\.[^@\s]+", email):
            errors["email"] = "invalid_email"
    if not typed.get("name", "").strip():
        errors["name"] = "required"
    return errors | (_check_iban(typed) if is_debit(typed, session) else _check_card(typed, now))


def is_debit(typed: Mapping[str, str], session: Json) -> bool:
    kinds = session["payment_method_types"]
    return "sepa_debit" in kinds and ("card" not in kinds or typed.get("payment_method") == "sepa_debit")


def _check_iban(typed: Mapping[str, str]) -> dict[str, str]:
    iban = typed.get("iban", "").replace(" ", "").upper()
    return {} if cards.iban_valid(iban) else {"iban": "invalid_iban" if iban else "required"}


def _check_card(typed: Mapping[str, str], now: int) -> dict[str, str]:
    errors = {}
    number = _digits(typed.get("card_number", ""))
    if not number:
        errors["card_number"] = "incomplete_number"
    elif not cards.luhn_valid(number):
        errors["card_number"] = "incorrect_number"
    expiry = expiry_of(typed.get("exp", ""))
    today = datetime.fromtimestamp(now, UTC)
    if expiry is None:
        errors["exp"] = "incomplete_exp"
    elif (expiry[1], expiry[0]) < (today.year, today.month):
        errors["exp"] = "expired_date"
    if not re.fullmatch(r"\d{3,4}", _digits(typed.get("cvc", "")), re.ASCII):
        errors["cvc"] = "incomplete_cvc"
    return errors


def expiry_of(text: str) -> tuple[int, int] | None:
    """Parse a card's expiry into (month, year): `12/34`, `1234` and `12 / 2034` give (12, 2034), anything else None."""
    match = _EXP.match(text.strip())
    if not match or not 1 <= int(match[1]) <= 12:
        return None
    return int(match[1]), 2000 + int(match[2])


def _digits(text: str) -> str:
    return re.sub(r"[\s-]", "", text)


def make_method(sandbox: Sandbox, typed: Mapping[str, str], session: Json) -> Json:
    email = session["customer_email"] or typed["email"].strip()
    billing = {"email": email, "name": typed["name"].strip()}
    if is_debit(typed, session):
        return methods.create_sepa_debit(sandbox, cards.bank_account(typed["iban"]), billing)
    expiry = expiry_of(typed["exp"]) or (12, 2034)
    return methods.create_card(sandbox, cards.card(typed["card_number"]), billing, expiry)
