"""Opens, updates and closes disputes of charges. https://docs.stripe.com/disputes/how-disputes-work"""

from stripe_sandbox import charges
from stripe_sandbox.errors import StripeError
from stripe_sandbox.sandbox import Sandbox
from stripe_sandbox.store import Json

_FEE = 2_000  # minor units
_DAYS_TO_ANSWER = 9
_OPEN = ("needs_response", "under_review", "warning_needs_response", "warning_under_review")


def open_dispute(sandbox: Sandbox, charge: Json, reason: str, *, inquiry: bool, amount: int | None = None) -> Json:
    """Open an inquiry, which moves no money, if `inquiry`; else a chargeback, which withdraws the money at once.

    `amount` is in minor units; None means all that isn't refunded. Raises StripeError if the charge is disputed.
    """
    if charge["disputed"]:
        raise StripeError(f"Charge {charge['id']} is disputed already.", code="charge_disputed")
    dispute = sandbox.new(
        "dispute",
        amount=amount or charge["amount"] - charge["amount_refunded"],
        charge=charge["id"],
        currency=charge["currency"],
        is_charge_refundable=inquiry,
        payment_intent=charge["payment_intent"],
        reason=reason,
        status="warning_needs_response" if inquiry else "needs_response",
    )
    dispute["evidence_details"]["due_by"] = sandbox.now() + _DAYS_TO_ANSWER * 86_400
    _name_card(dispute, charge, inquiry)
    charge["disputed"] = True
    sandbox.emit("charge.dispute.created", dispute)
    if not inquiry:
        _move_money(sandbox, dispute, -dispute["amount"], "charge.dispute.funds_withdrawn", _FEE)
    return dispute


def _name_card(dispute: Json, charge: Json, inquiry: bool) -> None:
    card = charge["payment_method_details"].get("card")
    if card is None:
        dispute["payment_method_details"] = None
        return
    case_type = "inquiry" if inquiry else "chargeback"
    dispute["payment_method_details"]["card"] |= {
        "brand": card["brand"],
        "network": card["network"],
        "case_type": case_type,
    }


def _move_money(sandbox: Sandbox, dispute: Json, amount: int, event_type: str, fee: int = 0) -> None:
    balance = charges.add_balance(sandbox, dispute, amount, "adjustment", fee)
    dispute["balance_transactions"].append(balance)
    sandbox.emit(event_type, dispute)


def update(sandbox: Sandbox, dispute: Json) -> None:
    """Put the dispute under review, as submitting evidence does. Raises StripeError if the dispute is closed."""
    _check_open(dispute)
    dispute["status"] = "warning_under_review" if _is_inquiry(dispute) else "under_review"
    dispute["evidence_details"] |= {"has_evidence": True, "submission_count": 1}
    sandbox.emit("charge.dispute.updated", dispute)


def close(sandbox: Sandbox, dispute: Json, *, won: bool) -> None:
    """Close a chargeback as `won` or `lost`, or an inquiry as `warning_closed`. A won chargeback's money comes back.

    Raises StripeError if the dispute is already closed. But a lost chargeback can still be won, as at Stripe.
    """
    if not (won and dispute["status"] == "lost"):
        _check_open(dispute)
    inquiry = _is_inquiry(dispute)
    dispute["status"] = "warning_closed" if inquiry else "won" if won else "lost"
    sandbox.emit("charge.dispute.closed", dispute)
    if won and not inquiry:
        _move_money(sandbox, dispute, dispute["amount"], "charge.dispute.funds_reinstated")


def _is_inquiry(dispute: Json) -> bool:
    return str(dispute["status"]).startswith("warning_")


def _check_open(dispute: Json) -> None:
    if dispute["status"] not in _OPEN:
        raise StripeError("This dispute is already closed", code="dispute_already_closed")
