"""Creates charges and balance transactions, and lets charges succeed or fail."""

from stripe_sandbox import methods
from stripe_sandbox.cards import DECLINES
from stripe_sandbox.sandbox import Sandbox
from stripe_sandbox.store import Json

_BALANCE_AVAILABLE_AFTER = 2 * 86_400  # seconds


def create(sandbox: Sandbox, intent: Json, method: Json, authenticated: bool = False) -> Json:
    """Create a pending charge for the PaymentIntent `intent`, and make it the intent's `latest_charge`.

    `method` is the PaymentMethod; `authenticated` says whether the customer passed 3-D Secure.
    """
    charge = sandbox.new(
        "charge",
        amount=intent["amount"],
        currency=intent["currency"],
        billing_details=dict(method["billing_details"]),
        customer=intent["customer"],
        description=intent["description"],
        metadata=dict(intent["metadata"]),
        payment_intent=intent["id"],
        payment_method=method["id"],
        payment_method_details=methods.charge_details(method, authenticated, intent["amount"]),
        receipt_email=intent["receipt_email"],
        shipping=intent["shipping"],
        statement_descriptor=intent["statement_descriptor"],
        statement_descriptor_suffix=intent["statement_descriptor_suffix"],
    )
    intent["latest_charge"] = charge["id"]
    return charge


def succeed(sandbox: Sandbox, charge: Json, *, captured: bool = True) -> None:
    """Let the charge succeed; unless `captured`, the money is only reserved on the card until `capture` takes it."""
    charge |= {
        "status": "succeeded",
        "paid": True,
        "calculated_statement_descriptor": sandbox.settings.business_name.upper()[:22],
        "outcome": _outcome("authorized", "approved_by_network", "Payment complete."),
        "receipt_url": f"{sandbox.settings.public_url}/receipts/{charge['id']}",
    }
    if captured:
        _take(sandbox, charge, charge["amount"])
    sandbox.emit("charge.succeeded", charge)


def capture(sandbox: Sandbox, charge: Json, amount: int) -> None:
    """Take `amount` minor units of the money reserved on the card. The rest is released, and no refund is made for it.

    https://docs.stripe.com/changelog/basil/2025-03-31/remove-refund-from-partial-capture-and-payment-cancellation-flow
    """
    _take(sandbox, charge, amount)
    sandbox.emit("charge.captured", charge)


def _take(sandbox: Sandbox, charge: Json, amount: int) -> None:
    balance = add_balance(sandbox, charge, amount, "charge")
    charge |= {"captured": True, "amount_captured": amount, "balance_transaction": balance["id"]}


def decline(sandbox: Sandbox, charge: Json, decline_code: str) -> None:
    code, message = DECLINES[decline_code]
    blocked = decline_code == "fraudulent"
    status, kind = ("not_sent_to_network", "blocked") if blocked else ("declined_by_network", "issuer_declined")
    outcome = _outcome(kind, status, "The bank did not return any further details with this decline.", decline_code)
    charge |= {"status": "failed", "failure_code": code, "failure_message": message, "outcome": outcome}
    sandbox.emit("charge.failed", charge)


def fail_debit(sandbox: Sandbox, charge: Json) -> None:
    message = "The customer's account has insufficient funds to cover this payment."
    charge |= {"status": "failed", "failure_code": "insufficient_funds", "failure_message": message}
    sandbox.emit("charge.failed", charge)


def _outcome(kind: str, status: str, message: str, reason: str | None = None) -> Json:
    return {
        "advice_code": None,
        "network_advice_code": None,
        "network_decline_code": None,
        "network_status": status,
        "reason": reason,
        "seller_message": message,
        "type": kind,
    }


def add_balance(sandbox: Sandbox, source: Json, amount: int, kind: str, fee: int | None = None) -> Json:
    """Create a balance transaction of `amount` minor units for `source`; a negative amount lowers the balance.

    `fee` is in minor units too. If it is None, the fee is 1.5 % + 25 for the `kind` "charge" and 0 for any other.
    """
    fee = (amount * 15 // 1000 + 25 if kind == "charge" else 0) if fee is None else fee
    details = {"amount": fee, "application": None, "currency": source["currency"], "type": "stripe_fee"}
    return sandbox.new(
        "balance_transaction",
        amount=amount,
        available_on=sandbox.now() + _BALANCE_AVAILABLE_AFTER,
        currency=source["currency"],
        description=source.get("description"),
        fee=fee,
        fee_details=[details | {"description": "Stripe processing fees"}] if fee else [],
        net=amount - fee,
        reporting_category="dispute" if kind == "adjustment" else kind,
        source=source["id"],
        type=kind,
    )
