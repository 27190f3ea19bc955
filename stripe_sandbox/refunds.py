"""Creates refunds, which succeed at once, stay pending or fail later. https://docs.stripe.com/refunds"""

from stripe_sandbox import balance, methods, vouchers
from stripe_sandbox.errors import StripeError
from stripe_sandbox.ids import token
from stripe_sandbox.money import format_money
from stripe_sandbox.sandbox import Sandbox
from stripe_sandbox.store import Json

REASONS = ("duplicate", "fraudulent", "requested_by_customer")
_PENDING_SECONDS = 180
_COUNTED = ("pending", "requires_action", "succeeded")


def create(sandbox: Sandbox, charge: Json, amount: int | None, reason: str | None, metadata: Json) -> Json:
    """Refund `amount` minor units of the charge, or everything not refunded yet if `amount` is None.

    Raises StripeError, for example charge_already_refunded or charge_disputed.
    """
    left = charge["amount_captured"] - charge["amount_refunded"]
    _check(sandbox, charge, amount, left)
    method = sandbox.store.get("payment_method", charge["payment_method"])
    behaviour = methods.test_of(method).refund
    pending = behaviour == "pending" or method["type"] != "card"
    refund = sandbox.new(
        "refund",
        amount=left if amount is None else amount,
        charge=charge["id"],
        currency=charge["currency"],
        destination_details=_destination(method),
        metadata=metadata,
        payment_intent=charge["payment_intent"],
        payment_method=method["id"],
        reason=reason,
        status="pending" if pending else "succeeded",
    )
    refund["balance_transaction"] = balance.add(sandbox, refund, -refund["amount"], "refund")["id"]
    _update_refunded(sandbox, charge)
    sandbox.emit("refund.created", refund)
    sandbox.emit("charge.refunded", charge)
    if pending:
        sandbox.later(_PENDING_SECONDS, "finish_refund", refund["id"], "succeeded")
    elif behaviour == "fails":
        sandbox.later(_PENDING_SECONDS, "finish_refund", refund["id"], "failed")
    else:
        _emit_update(sandbox, refund)
    return refund


def _check(sandbox: Sandbox, charge: Json, amount: int | None, left: int) -> None:
    if charge["status"] != "succeeded" or not charge["captured"]:
        raise StripeError(f"Charge {charge['id']} has not succeeded; it cannot be refunded.", param="charge")
    disputes = sandbox.store.select("dispute", charge=charge["id"])
    if any(found["status"] != "won" and not found["is_charge_refundable"] for found in disputes):
        raise StripeError(
            f"Charge {charge['id']} has been charged back; cannot issue a refund.", code="charge_disputed"
        )
    if left <= 0:
        raise StripeError(f"Charge {charge['id']} has already been refunded.", code="charge_already_refunded")
    if amount is not None and amount <= 0:
        raise StripeError("Invalid positive integer", code="parameter_invalid_integer", param="amount")
    if amount is not None and amount > left:
        shown, most = (format_money(value, charge["currency"], "en") for value in (amount, left))
        noun = "unrefunded amount on charge" if charge["amount_refunded"] else "charge amount"
        raise StripeError(f"Refund amount ({shown}) is greater than {noun} ({most})", param="amount")


def _destination(method: Json) -> Json:
    if method["type"] == "sepa_debit":
        return {"sepa_bank_transfer": {"reference": None, "reference_status": "pending"}, "type": "sepa_bank_transfer"}
    if method["type"] in vouchers.KINDS:
        return vouchers.refund_destination(method)
    card = {"reference": None, "reference_status": "pending", "reference_type": "acquirer_reference_number"}
    return {"card": {**card, "type": "refund"}, "type": "card"}


def _update_refunded(sandbox: Sandbox, charge: Json) -> None:
    refunds = sandbox.store.select("refund", charge=charge["id"])
    charge["amount_refunded"] = sum(found["amount"] for found in refunds if found["status"] in _COUNTED)
    charge["refunded"] = charge["amount_refunded"] >= charge["amount_captured"]


def _emit_update(sandbox: Sandbox, refund: Json, *more: str) -> None:
    """Emit an event about the refund for `refund.updated`, `charge.refund.updated` and each event type in `more`.

    If the refund is to a card and has succeeded, first set its bank reference.
    """
    if refund["status"] == "succeeded" and "card" in refund["destination_details"]:
        reference = {"reference": token(23).upper(), "reference_status": "available"}
        refund["destination_details"]["card"] |= reference
    for event_type in ("refund.updated", "charge.refund.updated", *more):
        sandbox.emit(event_type, refund)


def finish(sandbox: Sandbox, refund: Json, status: str) -> None:
    """Set the refund's status to succeeded, failed or canceled.

    A refund that has succeeded can still become failed or canceled, which puts the money back on the balance. Raises
    StripeError if the refund already has this status, or has failed or been canceled.
    """
    if refund["status"] in ("failed", "canceled") or refund["status"] == status:
        raise StripeError(f"This refund is {refund['status']} already.", code="refund_unexpected_state")
    refund["status"] = status
    if status == "succeeded":
        _emit_update(sandbox, refund)
        return
    charge = sandbox.store.get("charge", refund["charge"])
    returned = balance.add(sandbox, refund, refund["amount"], "refund_failure")
    refund["failure_balance_transaction"] = returned["id"]
    if status == "failed":
        refund["failure_reason"] = "lost_or_stolen_card"
    _update_refunded(sandbox, charge)
    _emit_update(sandbox, refund, *(["refund.failed"] if status == "failed" else []))
    sandbox.emit("charge.updated", charge)


def cancel(sandbox: Sandbox, refund: Json) -> None:
    """Cancel the refund. Raises StripeError unless its status is pending or requires_action."""
    if refund["status"] not in ("pending", "requires_action"):
        raise StripeError(f"You cannot cancel a refund that is {refund['status']}.", param="id")
    finish(sandbox, refund, "canceled")


def update_metadata(sandbox: Sandbox, refund: Json, metadata: Json) -> None:
    refund["metadata"] = merge_metadata(refund["metadata"], metadata)
    _emit_update(sandbox, refund)


def merge_metadata(old: Json, new: Json) -> Json:
    """Return `old` updated with `new`, as Stripe merges metadata: a key with an empty value is deleted."""
    return {key: value for key, value in {**old, **new}.items() if value != ""}
