"""Opens, updates and closes disputes of charges. https://docs.stripe.com/disputes/how-disputes-work"""

from dataclasses import dataclass

from stripe_sandbox import balance
from stripe_sandbox.errors import StripeError
from stripe_sandbox.sandbox import Sandbox
from stripe_sandbox.store import Json

# https://docs.stripe.com/disputes/categories
REASONS = (
    *("bank_cannot_process", "check_returned", "credit_not_processed", "customer_initiated", "debit_not_authorized"),
    *("duplicate", "fraudulent", "general", "incorrect_account_details", "insufficient_funds", "noncompliant"),
    *("product_not_received", "product_unacceptable", "subscription_canceled", "unrecognized"),
)
INQUIRIES = ("warning_needs_response", "warning_under_review")
OPEN = ("needs_response", "under_review", *INQUIRIES)
_FEE = 2_000  # minor units
_DAYS_TO_ANSWER = 9


@dataclass(frozen=True)
class Claim:
    """What a bank claims when it opens a dispute of a charge."""

    reason: str | None = None  # None for the commonest reason of the payment method
    amount: int | None = None  # minor units; None for all that isn't refunded
    currency: str | None = None  # None for the charge's; a bank may dispute in another one
    due_by: int | None = None  # Unix seconds on Stripe's clock; None for nine days from now
    inquiry: bool = False  # an inquiry moves no money; a chargeback withdraws the amount at once


def open_dispute(sandbox: Sandbox, charge: Json, claim: Claim) -> Json:
    """Open a dispute of the charge; if it is a bank debit, the money is lost at once, because nobody can contest it.

    Raises StripeError if the charge has not succeeded or has an open dispute, or if the claim is impossible.
    https://docs.stripe.com/payments/sepa-debit#disputed-payments
    """
    _check_claim(sandbox, charge, claim)
    debit = is_debit(charge)
    dispute = sandbox.new(
        "dispute",
        amount=claim.amount or charge["amount_captured"] - charge["amount_refunded"],
        charge=charge["id"],
        currency=claim.currency or charge["currency"],
        is_charge_refundable=claim.inquiry,
        payment_intent=charge["payment_intent"],
        reason=claim.reason or ("debit_not_authorized" if debit else "fraudulent"),
        status="lost" if debit else "warning_needs_response" if claim.inquiry else "needs_response",
    )
    dispute["evidence_details"]["due_by"] = None if debit else _due_by(sandbox, claim.due_by)
    _name_card(dispute, charge, claim.inquiry)
    charge["disputed"] = True
    if not claim.inquiry:
        _move_money(sandbox, dispute, -dispute["amount"], _FEE)
    sandbox.emit("charge.dispute.created", dispute)
    if not claim.inquiry:
        sandbox.emit("charge.dispute.funds_withdrawn", dispute)
    if debit:
        sandbox.emit("charge.dispute.closed", dispute)
    return dispute


def is_debit(charge: Json) -> bool:
    return bool(charge["payment_method_details"]["type"] == "sepa_debit")


def _check_claim(sandbox: Sandbox, charge: Json, claim: Claim) -> None:
    if charge["status"] != "succeeded" or not charge["captured"]:
        raise StripeError(f"Charge {charge['id']} has not succeeded; nobody can dispute it.", param="charge")
    if any(found["status"] in OPEN for found in sandbox.store.select("dispute", charge=charge["id"])):
        raise StripeError(f"Charge {charge['id']} has an open dispute already.", code="charge_disputed")
    if claim.inquiry and is_debit(charge):
        raise StripeError("There are no inquiries about bank debits.", param="warning")
    if claim.currency not in (None, charge["currency"]) and claim.amount is None:
        raise StripeError("A dispute in another currency needs an amount.", param="amount")


def _due_by(sandbox: Sandbox, given: int | None = None) -> int:
    return given or sandbox.now() + _DAYS_TO_ANSWER * 86_400


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


def _move_money(sandbox: Sandbox, dispute: Json, amount: int, fee: int = 0) -> None:
    category = "dispute" if amount < 0 else "dispute_reversal"
    dispute["balance_transactions"].append(balance.add(sandbox, dispute, amount, category, fee=fee))


def update(sandbox: Sandbox, dispute: Json) -> None:
    """Put the dispute under review, as submitting evidence does. Raises StripeError if the dispute is closed."""
    _check_open(dispute)
    dispute["status"] = "warning_under_review" if _is_inquiry(dispute) else "under_review"
    dispute["evidence_details"] |= {"has_evidence": True, "submission_count": 1}
    sandbox.emit("charge.dispute.updated", dispute)


def escalate(sandbox: Sandbox, dispute: Json) -> None:
    """Turn an inquiry into a chargeback, which withdraws the money. Raises StripeError if it isn't an open inquiry."""
    if dispute["status"] not in INQUIRIES:
        raise StripeError(
            f"Only an open inquiry can be escalated; this dispute is {dispute['status']}.", param="status"
        )
    dispute |= {"status": "needs_response", "is_charge_refundable": False}
    dispute["evidence_details"]["due_by"] = _due_by(sandbox)
    if dispute["payment_method_details"]:
        dispute["payment_method_details"]["card"]["case_type"] = "chargeback"
    _move_money(sandbox, dispute, -dispute["amount"], _FEE)
    sandbox.emit("charge.dispute.updated", dispute)
    sandbox.emit("charge.dispute.funds_withdrawn", dispute)


def close(sandbox: Sandbox, dispute: Json, *, won: bool) -> None:
    """Close a chargeback as won or lost, or an inquiry as `warning_closed`. A won chargeback's money comes back.

    Raises StripeError if the dispute is already closed; only a card's lost chargeback can still be won, as at Stripe.
    """
    if not (won and dispute["status"] == "lost" and dispute["payment_method_details"]):
        _check_open(dispute)
    inquiry = _is_inquiry(dispute)
    dispute["status"] = "warning_closed" if inquiry else "won" if won else "lost"
    reinstated = won and not inquiry
    if reinstated:
        _move_money(sandbox, dispute, dispute["amount"])
    sandbox.emit("charge.dispute.closed", dispute)
    if reinstated:
        sandbox.emit("charge.dispute.funds_reinstated", dispute)


def _is_inquiry(dispute: Json) -> bool:
    return dispute["status"] in INQUIRIES


def _check_open(dispute: Json) -> None:
    if dispute["status"] not in OPEN:
        raise StripeError("This dispute is already closed", code="dispute_already_closed")
