"""Keeps the account's balance: one balance transaction for each move of money.

https://docs.stripe.com/api/balance_transactions
"""

from stripe_sandbox.errors import StripeError
from stripe_sandbox.lists import PAGING, created_in, page
from stripe_sandbox.params import only
from stripe_sandbox.sandbox import Sandbox
from stripe_sandbox.store import Json

_AVAILABLE_AFTER = 2 * 86_400  # seconds after a charge
# Reporting categories, each with the type of a card's balance transactions and that of other payment methods'.
# https://docs.stripe.com/reports/reporting-categories
_TYPES = {
    "charge": ("charge", "payment"),
    "refund": ("refund", "payment_refund"),
    "refund_failure": ("refund_failure", "payment_failure_refund"),
    "dispute": ("adjustment", "adjustment"),
    "dispute_reversal": ("adjustment", "adjustment"),
    "payout": ("payout", "payout"),
    "payout_reversal": ("payout_failure", "payout_failure"),
}
# Currencies without a bank account, which become euros on the balance, and their rates in minor units: 100 yen are 62
# cents. https://docs.stripe.com/currencies/conversions
_RATES = {"gbp": 1.17, "jpy": 0.62}


def add(
    sandbox: Sandbox, source: Json, amount: int, category: str, *, fee: int = 0, created: int | None = None
) -> Json:
    """Create a balance transaction of `amount` minor units of the currency of `source`; a negative one takes money.

    `category` is the reporting category. `fee` is in minor units of the balance's currency; a charge's is 1.5 % + 25.
    `created` is in Unix seconds, by default now.
    """
    rate = _RATES.get(source["currency"])
    amount, currency = (round(amount * rate), "eur") if rate else (amount, source["currency"])
    fee = amount * 15 // 1000 + 25 if category == "charge" else fee
    created = created or sandbox.now()
    details = {"amount": fee, "application": None, "currency": currency, "type": "stripe_fee"}
    return sandbox.store.new(
        "balance_transaction",
        created,
        amount=amount,
        available_on=created + (_AVAILABLE_AFTER if category == "charge" else 0),
        currency=currency,
        description=source.get("description"),
        exchange_rate=rate,
        fee=fee,
        fee_details=[details | {"description": "Stripe processing fees"}] if fee else [],
        net=amount - fee,
        reporting_category=category,
        source=source["id"],
        status="pending" if category == "charge" else "available",
        type=_TYPES[category][not _is_by_card(source)],
    )


def _is_by_card(source: Json) -> bool:
    details = source.get("payment_method_details") or source.get("destination_details") or {}
    return bool(details.get("type", "card") == "card")


def unpaid(sandbox: Sandbox, currency: str) -> list[Json]:
    """Return the balance transactions in this currency that no automatic payout has paid out yet, newest first."""
    found = sandbox.store.select("balance_transaction", currency=currency)
    return [row for row in found if not payout_of(sandbox, row) and row["created"] <= sandbox.now()]


def make_available(sandbox: Sandbox, *, at_once: bool = False) -> None:
    """Mark the balance transactions that can be paid out now as available; with `at_once`, all that there are."""
    now = sandbox.now()
    for row in sandbox.store.select("balance_transaction", status="pending"):
        if at_once and row["created"] <= now:
            row["available_on"] = min(row["available_on"], now)
        if row["available_on"] <= now:
            row["status"] = "available"


def payout_of(sandbox: Sandbox, row: Json) -> str:
    """Return the id of the automatic payout that paid the balance transaction out, or "" if none has yet."""
    return str(sandbox.store.private.get(row["id"], {}).get("payout", ""))


def list_transactions(sandbox: Sandbox, given: Json, _: str) -> Json:
    """Answer GET /v1/balance_transactions, which can be filtered by `payout`, `currency`, `source` and `type`.

    A payout's own balance transaction is in its list. The list is incomplete until the payout's reconciliation is.
    """
    only(given, *PAGING, "payout", "currency", "source", "type")
    equal = {name: given[name] for name in ("currency", "source", "type") if name in given}
    found = created_in(sandbox.store.select("balance_transaction", **equal), given.get("created"))
    if "payout" in given:
        payout = sandbox.store.get("payout", given["payout"], "payout")
        if not payout["automatic"]:
            message = "Balance transaction history can only be filtered on automatic transfers, not manual."
            raise StripeError(message, param="payout")
        found = [row for row in found if payout_of(sandbox, row) == payout["id"]]
        if payout["reconciliation_status"] == "in_progress":
            found = found[: (len(found) + 1) // 2]
    return page(found, given, "/v1/balance_transactions")
