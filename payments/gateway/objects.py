"""Converts Stripe's JSON objects to facts. A fact (StripeFact) is the state of one object at one moment.

All conversions are in this module, so that a change of Stripe's fields is handled in one place.
"""

import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from ..domain.facts import Json, Kind, StripeFact
from ..domain.precedence import RANK_OF


class MalformedObjectError(ValueError):
    """Raised when a field that a fact (the object's state) needs is missing or invalid; the message names the field."""


def _text(obj: Json, name: str) -> str:
    """Return the text in field `name` of a Stripe object, or "" if the field is null. Raises MalformedObjectError.

    If Stripe expanded the field to an object, return this object's id.
    """
    value = obj.get(name)
    value = value.get("id") if isinstance(value, Mapping) else value
    if value is not None and not isinstance(value, str):
        raise MalformedObjectError(f"{name} is not a string")
    if len(value or "") > (3 if name == "currency" else 255):
        raise MalformedObjectError(f"{name} is too long")
    return value or ""


def read_amount(obj: Json, name: str) -> int:
    """Return the whole number in field `name` of a Stripe object: an amount in minor units or a time in Unix seconds.

    Return 0 if the field is null. Raises MalformedObjectError.
    """
    value = obj.get(name)
    if value is None:
        return 0
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**53:
        raise MalformedObjectError(f"{name} is not an amount in minor units")
    return value


def _common(obj: Json, kind: Kind, status: str, as_of: int) -> dict[str, Any]:
    """Return, as a dict, the fields of a fact (one Stripe object's state) that are read alike for all kinds of objects.

    `as_of` is when the object had this state (Unix seconds). Raises MalformedObjectError.
    """
    if status not in RANK_OF[kind]:
        raise MalformedObjectError(f"{kind} status {status!r} is unknown")
    if not (stripe_id := _text(obj, "id")):
        raise MalformedObjectError("id is missing")
    metadata = obj.get("metadata") or {}
    if not isinstance(metadata, Mapping):
        raise MalformedObjectError("metadata is not an object")
    return {
        "kind": kind,
        "stripe_id": stripe_id,
        "status": status,
        "as_of": as_of,
        "created": read_amount(obj, "created"),
        "currency": _text(obj, "currency").lower(),
        "livemode": obj.get("livemode") is True,
        "payment_intent_id": _text(obj, "payment_intent"),
        "payment_id": our_payment_id(metadata),
        "attempt": str(metadata.get("attempt", ""))[:40],
    }


def our_payment_id(metadata: Json) -> str:
    """Return our payment's public id from an object's metadata, or "" if the metadata holds no such id."""
    try:
        return str(uuid.UUID(str(metadata.get("payment_id", ""))))
    except ValueError:
        return ""


def from_session(obj: Json, as_of: int, *, failed: bool = False) -> StripeFact:
    """Convert the JSON of a Checkout Session to a fact: the session's state at `as_of` (Unix seconds).

    `failed` is true if Stripe's event says that the Checkout Session's delayed payment failed: the JSON doesn't say so.
    https://docs.stripe.com/api/checkout/sessions/object
    """
    status, paid = _text(obj, "status"), _text(obj, "payment_status")
    if status == "complete":
        intent = obj.get("payment_intent")
        gone = isinstance(intent, Mapping) and intent.get("status") in ("requires_payment_method", "canceled")
        status = paid if paid in ("paid", "no_payment_required") else "failed" if failed or gone else "processing"
    details = {name: obj[name] for name in ("url", "expires_at") if obj.get(name) and status == "open"}
    fact = StripeFact(
        **_common(obj, Kind.SESSION, status, as_of), amount=read_amount(obj, "amount_total"), details=details
    )
    return replace(fact, payment_id=fact.payment_id or our_payment_id({"payment_id": obj.get("client_reference_id")}))


def from_intent(obj: Json, as_of: int) -> StripeFact:
    """Convert the JSON of a PaymentIntent to a fact: the PaymentIntent's state at `as_of` (Unix seconds).

    https://docs.stripe.com/api/payment_intents/object
    """
    status = _text(obj, "status")
    error = obj.get("last_payment_error") or {}
    if status in ("requires_payment_method", "requires_confirmation", "requires_capture"):
        status = "failed" if error and status == "requires_payment_method" else "idle"
    details = {"failure_code": code} if status == "failed" and (code := _failure_code(error)) else {}
    return StripeFact(
        **_common(obj, Kind.INTENT, status, as_of) | {"payment_intent_id": _text(obj, "id")},
        amount=read_amount(obj, "amount_received") or (read_amount(obj, "amount") if status != "succeeded" else 0),
        charge_id=_text(obj, "latest_charge"),
        details=details,
    )


def _failure_code(error: Json) -> str:
    code = error.get("decline_code") or error.get("code") if isinstance(error, Mapping) else ""
    return str(code or "")[:80]


def _captured(charge: Json) -> int:
    """Return how much of the charge was captured, in minor units; 0 if it is only authorized."""
    captured = read_amount(charge, "amount_captured")
    return captured or (read_amount(charge, "amount") if charge.get("captured", True) is True else 0)


def from_charge(obj: Json, as_of: int) -> StripeFact:
    """Convert the JSON of a charge to a fact: the charge's state at `as_of` (Unix seconds).

    https://docs.stripe.com/api/charges/object
    """
    method = obj.get("payment_method_details")
    details = {"method": str(method.get("type", ""))[:40]} if isinstance(method, Mapping) else {}
    if obj.get("failure_code"):
        details["failure_code"] = str(obj["failure_code"])[:80]
    return StripeFact(
        **_common(obj, Kind.CHARGE, _text(obj, "status"), as_of),
        amount=_captured(obj),
        amount_refunded=read_amount(obj, "amount_refunded"),
        charge_id=_text(obj, "id"),
        details=details,
    )


def from_refund(obj: Json, as_of: int) -> StripeFact:
    """Convert the JSON of a refund to a fact: the refund's state at `as_of` (Unix seconds).

    https://docs.stripe.com/api/refunds/object
    """
    common = _common(obj, Kind.REFUND, _text(obj, "status") or "pending", as_of)
    details = {name: str(obj[name])[:80] for name in ("reason", "failure_reason") if obj.get(name)}
    if request := (obj.get("metadata") or {}).get("refund_request"):
        details["request"] = str(request)[:80]
    return StripeFact(
        **common,
        amount=read_amount(obj, "amount"),
        charge_id=_text(obj, "charge"),
        details=details,
    )


def from_dispute(obj: Json, as_of: int) -> StripeFact:
    """Convert the JSON of a dispute to a fact: the dispute's state at `as_of` (Unix seconds).

    https://docs.stripe.com/api/disputes/object
    """
    evidence = obj.get("evidence_details") or {}
    details: dict[str, Any] = {"reason": str(obj.get("reason") or "")[:80]}
    if isinstance(evidence, Mapping) and evidence.get("due_by"):
        details["due_by"] = read_amount(evidence, "due_by")
    details |= _balance_times(obj)
    return StripeFact(
        **_common(obj, Kind.DISPUTE, _text(obj, "status"), as_of),
        amount=read_amount(obj, "amount"),
        charge_id=_text(obj, "charge"),
        details=details,
    )


def _balance_times(dispute: Json) -> dict[str, int]:
    """Return when Stripe withdrew the disputed amount and when it paid it back, in Unix seconds, if it did so."""
    rows = dispute.get("balance_transactions") or []
    if not isinstance(rows, list) or not all(isinstance(row, Mapping) for row in rows):
        raise MalformedObjectError("balance_transactions is not a list of objects")
    times: dict[str, int] = {}
    for row in sorted(rows, key=lambda row: read_amount(row, "created")):
        amount = row.get("amount")
        if isinstance(amount, int) and amount and (at := read_amount(row, "created")):
            times.setdefault("withdrawn_at" if amount < 0 else "reinstated_at", at)
    return times


def charge_with_refunds(obj: Json, as_of: int) -> list[StripeFact]:
    """Convert the JSON of a charge to facts: the state of the charge, and the states of any refunds inside it.

    Only older API versions put refunds inside a charge. `as_of` is the time of these states (Unix seconds).
    """
    inside = obj.get("refunds")
    refunds = inside.get("data") or [] if isinstance(inside, Mapping) else []
    if not isinstance(refunds, list) or not all(isinstance(refund, Mapping) for refund in refunds):
        raise MalformedObjectError("refunds is not a list of objects")
    return [from_charge(obj, as_of), *(from_refund(refund, as_of) for refund in refunds)]


Reader = Callable[[Json, int], list[StripeFact]]  # an object and the time it was read (Unix seconds) to its facts


def one_fact(reader: Callable[[Json, int], StripeFact]) -> Reader:
    """Return a function that does what `reader` does, but returns its one fact (an object's state) in a list."""
    return lambda obj, as_of: [reader(obj, as_of)]


OBJECT_READERS: dict[str, Reader] = {
    "checkout.session": one_fact(from_session),
    "payment_intent": one_fact(from_intent),
    "charge": charge_with_refunds,
    "refund": one_fact(from_refund),
    "dispute": one_fact(from_dispute),
}


def from_object(obj: Json, as_of: int) -> list[StripeFact]:
    """Convert an object that Stripe's API returned at `as_of` (Unix seconds) to facts. Raises MalformedObjectError."""
    reader = OBJECT_READERS.get(str(obj.get("object")))
    if reader is None:
        raise MalformedObjectError("object has an unknown type")
    return reader(obj, as_of)
