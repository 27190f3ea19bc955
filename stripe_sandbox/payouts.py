"""Pays the balance out to the bank: each day by itself, or when somebody asks. https://docs.stripe.com/payouts"""

from typing import Any

from stripe_sandbox import balance, params
from stripe_sandbox.errors import StripeError, missing_param
from stripe_sandbox.refunds import merge_metadata
from stripe_sandbox.sandbox import Sandbox
from stripe_sandbox.store import Json

_DAY = 86_400
_FAILURE = {"failure_code": "account_closed", "failure_message": "The bank account has been closed."}
# The states of a payout, each with the states that can follow. A bank can return even a payout that was paid.
_NEXT = {"pending": ("in_transit", "paid", "failed", "canceled"), "in_transit": ("paid", "failed"), "paid": ("failed",)}


def pay_out_daily(sandbox: Sandbox) -> None:
    """Make an automatic payout for each currency if a day, in UTC, has begun since the last ones."""
    today = sandbox.now() // _DAY
    if today > sandbox.payout_day:
        sandbox.payout_day = today
        pay_out(sandbox)


def pay_out(sandbox: Sandbox, *, at_once: bool = False) -> list[Json]:
    """Make an automatic payout of what is available, for each currency; return the payouts.

    With `at_once`, everything on the balance is available. If refunds and disputes took more than came in, the payout
    is negative: Stripe takes the money from the bank.
    """
    balance.make_available(sandbox, at_once=at_once)
    currencies = {row["currency"] for row in sandbox.store.select("balance_transaction")}
    return [made for currency in sorted(currencies) if (made := _pay_out(sandbox, currency))]


def _pay_out(sandbox: Sandbox, currency: str) -> Json | None:
    waiting = balance.unpaid(sandbox, currency)
    rows = [row for row in waiting if row["status"] == "available"]
    total = sum(row["net"] for row in rows)
    if total == 0 or (total < 0 <= sum(row["net"] for row in waiting)):
        return None
    payout = _new(sandbox, total, currency, automatic=True, reconciliation_status="in_progress")
    for row in (*rows, sandbox.store.get("balance_transaction", payout["balance_transaction"])):
        sandbox.store.private[row["id"]] = {"payout": payout["id"]}
    sandbox.emit("payout.created", payout)
    sandbox.later(sandbox.settings.balance_seconds, "reconcile_payout", payout["id"])
    return payout


def _new(sandbox: Sandbox, amount: int, currency: str, fee: int = 0, **values: Any) -> Json:
    """Create a payout of `amount` minor units with its own balance transaction, which takes the money and the fee."""
    payout = sandbox.new(
        "payout",
        amount=amount,
        arrival_date=(sandbox.now() // _DAY + 1) * _DAY,
        currency=currency,
        destination=_bank_account(sandbox, currency)["id"],
        **values,
    )
    payout["balance_transaction"] = balance.add(sandbox, payout, -amount, "payout", fee=fee)["id"]
    sandbox.later(payout["arrival_date"] - sandbox.now(), "payout_arrives", payout["id"])
    return payout


def _bank_account(sandbox: Sandbox, currency: str) -> Json:
    """Return the account's bank account for payouts in this currency, a new one if there is none yet."""
    known = next(sandbox.store.select("bank_account", currency=currency), None)
    return known or sandbox.new("bank_account", currency=currency)


def pay_out_by_hand(sandbox: Sandbox, amount: int, currency: str, *, instant: bool, metadata: Json) -> Json:
    """Make a manual payout of `amount` minor units, of which nobody can tell what it contains.

    An instant one costs 1 %. Raises StripeError if less is available.
    """
    balance.make_available(sandbox)
    fee = amount // 100 if instant else 0
    rows = balance.unpaid(sandbox, currency)
    if amount + fee > sum(row["net"] for row in rows if row["status"] == "available"):
        message = (
            "You have insufficient funds in your Stripe account for this transfer. Your card balance is too low. You "
            "can use the /v1/balance endpoint to view your Stripe balance (for more details, see "
            "stripe.com/docs/api#balance)."
        )
        raise StripeError(message, code="balance_insufficient")
    method = "instant" if instant else "standard"
    payout = _new(sandbox, amount, currency, fee, automatic=False, method=method, metadata=metadata)
    sandbox.emit("payout.created", payout)
    return payout


def reconcile(sandbox: Sandbox, payout: Json) -> None:
    """Complete the reconciliation of an automatic payout: its balance transactions can now be listed, all of them."""
    payout["reconciliation_status"] = "completed"
    sandbox.emit("payout.updated", payout, {"reconciliation_status": "in_progress"})
    sandbox.emit("payout.reconciliation_completed", payout)


def move(sandbox: Sandbox, payout: Json, status: str) -> None:
    """Give the payout the status in_transit, paid, failed or canceled; the last two put the money back on the balance.

    Raises StripeError if the payout can't get this status any more.
    """
    before = payout["status"]
    if status not in _NEXT.get(before, ()):
        raise StripeError(f"A payout that is {before} can't become {status}.", param="status")
    payout["status"] = status
    if status in ("failed", "canceled"):
        own = sandbox.store.get("balance_transaction", payout["balance_transaction"])
        returned = balance.add(sandbox, payout, -own["net"], "payout_reversal")
        if status == "canceled":
            returned["type"] = "payout_cancel"
        payout |= {"failure_balance_transaction": returned["id"]} | (_FAILURE if status == "failed" else {})
    sandbox.emit("payout.updated" if status == "in_transit" else f"payout.{status}", payout, {"status": before})


def create(sandbox: Sandbox, given: Json, _: str) -> Json:
    """Answer POST /v1/payouts."""
    params.only(given, "amount", "currency", "description", "destination", "method", "source_type")
    amount, currency = params.integer(given, "amount"), str(given.get("currency") or "").lower()
    if amount is None or not currency:
        raise missing_param("currency" if amount else "amount")
    if amount <= 0:
        raise StripeError("Invalid positive integer", code="parameter_invalid_integer", param="amount")
    instant = given.get("method") == "instant"
    return pay_out_by_hand(sandbox, amount, currency, instant=instant, metadata=params.metadata(given))


def cancel(sandbox: Sandbox, given: Json, payout_id: str) -> Json:
    """Answer POST /v1/payouts/{id}/cancel."""
    payout = sandbox.store.get("payout", payout_id)
    if payout["status"] != "pending" or payout["automatic"]:
        raise StripeError("Payouts can only be canceled while they are pending, and not if they are automatic.")
    move(sandbox, payout, "canceled")
    return payout


def update(sandbox: Sandbox, given: Json, payout_id: str) -> Json:
    """Answer POST /v1/payouts/{id}."""
    payout = sandbox.store.get("payout", payout_id)
    params.only(given)
    payout["metadata"] = merge_metadata(payout["metadata"], params.metadata(given))
    sandbox.emit("payout.updated", payout)
    return payout
