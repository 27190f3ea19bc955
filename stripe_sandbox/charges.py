"""Creates charges, lets them succeed or fail, and puts what they take on the balance."""

from stripe_sandbox import balance, methods
from stripe_sandbox.cards import DECLINES
from stripe_sandbox.sandbox import Sandbox
from stripe_sandbox.store import Json


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
    """Let the charge succeed; unless `captured`, the money is only reserved on the card until `capture` takes it.

    The balance transaction of captured money is made some seconds later, and told of with `charge.updated`.
    https://docs.stripe.com/payments/payment-intents/asynchronous-capture
    """
    charge |= {
        "status": "succeeded",
        "paid": True,
        "calculated_statement_descriptor": sandbox.settings.business_name.upper()[:22],
        "outcome": _outcome("authorized", "approved_by_network", "Payment complete."),
        "receipt_url": f"{sandbox.settings.public_url}/receipts/{charge['id']}",
    }
    if captured:
        charge |= {"captured": True, "amount_captured": charge["amount"]}
        sandbox.later(sandbox.settings.balance_seconds, "put_on_balance", charge["id"], sandbox.now())
    sandbox.emit("charge.succeeded", charge)


def capture(sandbox: Sandbox, charge: Json, amount: int) -> None:
    """Take `amount` minor units of the money reserved on the card. The rest is released, and no refund is made for it.

    https://docs.stripe.com/changelog/basil/2025-03-31/remove-refund-from-partial-capture-and-payment-cancellation-flow
    """
    charge |= {"captured": True, "amount_captured": amount}
    charge["balance_transaction"] = balance.add(sandbox, charge, amount, "charge")["id"]
    sandbox.emit("charge.captured", charge)


def put_on_balance(sandbox: Sandbox, charge: Json, taken_at: int) -> None:
    """Make the balance transaction of a charge that took its money at `taken_at` (Unix seconds)."""
    made = balance.add(sandbox, charge, charge["amount_captured"], "charge", created=taken_at)
    charge["balance_transaction"] = made["id"]
    sandbox.emit("charge.updated", charge, {"balance_transaction": None})


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
