"""Converts Stripe's JSON objects to facts. A fact (StripeFact) is the state of one object at one moment.

All conversions are in this module, so that a change of Stripe's fields is handled in one place.
"""

import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from ..domain.facts import Json, Kind, StripeFact
from ..domain.precedence import RANK_OF

WELL_FORMED = re.compile(r"[A-Za-z0-9_-]{0,255}")  # Stripe's ids, statuses and currencies; all fit into a URL's path
LAST_SECOND = 2**36  # Unix time in the year 4147; Python's dates end in 9999
LONGEST_URL = 2000  # characters


class MalformedObjectError(ValueError):
    """Raised when a field that a fact (the object's state) needs is missing or invalid; the message names the field."""


def _text(obj: Json, name: str) -> str:
    """Return the id, status or currency in field `name` of a Stripe object, or "" if the field is null.

    If Stripe expanded the field to an object, return this object's id. Raises MalformedObjectError.
    """
    value = obj.get(name)
    value = value.get("id") if isinstance(value, Mapping) else value
    if value is not None and not isinstance(value, str):
        raise MalformedObjectError(f"{name} is not a string")
    if not WELL_FORMED.fullmatch(value or "") or (name == "currency" and len(value or "") > 3):
        raise MalformedObjectError(f"{name} is too long, or has characters that Stripe doesn't use in it")
    return value or ""


def printable(value: object, most: int = 80) -> str:
    """Return a value that people or the log read, such as a reason, as text of at most `most` characters.

    Characters that databases refuse, such as NUL, are left out.
    """
    return "".join(character for character in str(value or "") if character.isprintable())[:most]


def read_amount(obj: Json, name: str, limit: int = 2**53) -> int:
    """Return the amount in minor units in field `name` of a Stripe object, or 0 if the field is null.

    Raises MalformedObjectError unless it is a whole number from 0 to below `limit`.
    """
    value = obj.get(name)
    if value is None:
        return 0
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < limit:
        raise MalformedObjectError(f"{name} is not a whole number from 0 to {limit - 1}")
    return value


def read_time(obj: Json, name: str) -> int:
    """Return the time (Unix seconds) in field `name` of a Stripe object, or 0 if the field is null.

    Raises MalformedObjectError unless pages can show the time as a date.
    """
    return read_amount(obj, name, LAST_SECOND)


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
        "created": read_time(obj, "created"),
        "currency": _text(obj, "currency").lower(),
        "livemode": obj.get("livemode") is True,
        "payment_intent_id": _text(obj, "payment_intent"),
        "payment_id": our_payment_id(metadata),
        "attempt": printable(metadata.get("attempt"), 40),
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
    fact = StripeFact(
        **_common(obj, Kind.SESSION, status, as_of),
        amount=read_amount(obj, "amount_total"),
        details=_payment_page(obj) if status == "open" else {},
    )
    return replace(fact, payment_id=fact.payment_id or our_payment_id({"payment_id": obj.get("client_reference_id")}))


def _payment_page(session: Json) -> dict[str, Any]:
    """Return the URL of the open session's payment page and when it expires (Unix seconds), as far as they are set."""
    url = session.get("url") or ""
    if not isinstance(url, str) or not re.match(r"https?://|$", url) or printable(url, LONGEST_URL) != url:
        raise MalformedObjectError("url is not an address of a page")
    page = {"url": url, "expires_at": read_time(session, "expires_at")}
    return {name: value for name, value in page.items() if value}


def checkout_facts(obj: Json, as_of: int) -> list[StripeFact]:
    """Convert the JSON of a Checkout Session to facts; in setup mode, these are the page and its SetupIntent's state.

    `as_of` is the time of these states (Unix seconds). A SetupIntent is in the JSON only if Stripe expanded it.
    """
    if obj.get("mode") != "setup":
        return [from_session(obj, as_of)]
    status = _text(obj, "status")
    details = _payment_page(obj) if status == "open" else {}
    page = StripeFact(**_common(obj, Kind.SETUP_PAGE, status, as_of), details=details)
    intent = obj.get("setup_intent")
    return [page, *(setup_facts(intent, as_of) if isinstance(intent, Mapping) else ())]


def setup_facts(obj: Json, as_of: int) -> list[StripeFact]:
    """Convert the JSON of a SetupIntent to facts: its state at `as_of` (Unix seconds), and the card that it kept.

    https://docs.stripe.com/api/setup_intents/object
    """
    status, error = _text(obj, "status"), obj.get("last_setup_error") or {}
    if status not in ("succeeded", "canceled"):
        status = "failed" if error and status == "requires_payment_method" else "idle"
    details = {"failure_code": code} if status == "failed" and (code := _failure_code(error)) else {}
    setup = StripeFact(**_common(obj, Kind.SETUP, status, as_of), details=details)
    return [setup, *(_kept_card(obj, setup) if status == "succeeded" else ())]


def _kept_card(obj: Json, of: StripeFact) -> list[StripeFact]:
    """Return a fact about the card that the SetupIntent or PaymentIntent `obj` kept, or [] if it kept none.

    `of` is the fact about the intent itself. Only if Stripe expanded the PaymentMethod are the card's brand and last
    digits known, and whether it was removed since.
    """
    method, customer = obj.get("payment_method"), _text(obj, "customer")
    if not (stripe_id := _text(obj, "payment_method")):
        return []
    known = method if isinstance(method, Mapping) else {"customer": customer}
    return [
        StripeFact(
            kind=Kind.CARD,
            stripe_id=stripe_id,
            status="kept" if known.get("customer") else "removed",
            as_of=of.as_of,
            created=of.created,
            livemode=of.livemode,
            payment_id=of.payment_id,
            attempt=of.attempt,
            details={"customer": customer} | _card_details(known),
        )
    ]


def _card_details(method: Json) -> dict[str, str]:
    card = method.get("card") or {}
    if not isinstance(card, Mapping):
        raise MalformedObjectError("card is not an object")
    return {name: printable(card[name], 20) for name in ("brand", "last4") if card.get(name)}


def from_payment_method(obj: Json, as_of: int) -> StripeFact:
    """Convert the JSON of a PaymentMethod to a fact: whether Stripe keeps it for a customer at `as_of` (Unix seconds).

    https://docs.stripe.com/api/payment_methods/object
    """
    customer = _text(obj, "customer")
    details = _card_details(obj) | ({"customer": customer} if customer else {})
    return StripeFact(**_common(obj, Kind.CARD, "kept" if customer else "removed", as_of), details=details)


def intent_facts(obj: Json, as_of: int) -> list[StripeFact]:
    """Convert the JSON of a PaymentIntent to facts: its state at `as_of` (Unix seconds), and the card that it kept."""
    intent = from_intent(obj, as_of)
    keeps = intent.status == "succeeded" and obj.get("setup_future_usage") == "off_session"
    return [intent, *(_kept_card(obj, intent) if keeps else ())]


def from_intent(obj: Json, as_of: int) -> StripeFact:
    """Convert the JSON of a PaymentIntent to a fact: the PaymentIntent's state at `as_of` (Unix seconds).

    https://docs.stripe.com/api/payment_intents/object
    """
    status = _text(obj, "status")
    error = obj.get("last_payment_error") or {}
    if status in ("requires_payment_method", "requires_confirmation", "requires_capture"):
        status = "failed" if error and status == "requires_payment_method" else "idle"
    common = _common(obj, Kind.INTENT, status, as_of)
    details = {"failure_code": code} if status == "failed" and (code := _failure_code(error)) else {}
    return StripeFact(
        **common | {"payment_intent_id": _text(obj, "id")},
        amount=read_amount(obj, "amount_received") or (read_amount(obj, "amount") if status != "succeeded" else 0),
        charge_id=_text(obj, "latest_charge"),
        details=details | _fee_request(obj),
    )


def _fee_request(obj: Json) -> dict[str, str]:
    """Return, as a dict, this site's request to charge a kept card that a PaymentIntent or charge answers, if any."""
    request = (obj.get("metadata") or {}).get("fee_request")
    return {"request": printable(request)} if request else {}


def _failure_code(error: Json) -> str:
    code = error.get("decline_code") or error.get("code") if isinstance(error, Mapping) else ""
    return printable(code)


def _captured(charge: Json) -> int:
    """Return how much of the charge was captured, in minor units; 0 if it is only authorized."""
    captured = read_amount(charge, "amount_captured")
    return captured or (read_amount(charge, "amount") if charge.get("captured", True) is True else 0)


def from_charge(obj: Json, as_of: int) -> StripeFact:
    """Convert the JSON of a charge to a fact: the charge's state at `as_of` (Unix seconds).

    https://docs.stripe.com/api/charges/object
    """
    method = obj.get("payment_method_details")
    details = {"method": printable(method.get("type"), 40)} if isinstance(method, Mapping) else {}
    if obj.get("failure_code"):
        details["failure_code"] = printable(obj["failure_code"])
    common = _common(obj, Kind.CHARGE, _text(obj, "status"), as_of)
    return StripeFact(
        **common,
        amount=_captured(obj),
        amount_refunded=read_amount(obj, "amount_refunded"),
        charge_id=_text(obj, "id"),
        details=details | _fee_request(obj),
    )


def from_refund(obj: Json, as_of: int) -> StripeFact:
    """Convert the JSON of a refund to a fact: the refund's state at `as_of` (Unix seconds).

    https://docs.stripe.com/api/refunds/object
    """
    common = _common(obj, Kind.REFUND, _text(obj, "status") or "pending", as_of)
    details = {name: printable(obj[name]) for name in ("reason", "failure_reason") if obj.get(name)}
    if request := (obj.get("metadata") or {}).get("refund_request"):
        details["request"] = printable(request)
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
    details: dict[str, Any] = {"reason": printable(obj.get("reason"))}
    if isinstance(evidence, Mapping) and evidence.get("due_by"):
        details["due_by"] = read_time(evidence, "due_by")
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
    for row in sorted(rows, key=lambda row: read_time(row, "created")):
        amount = row.get("amount")
        if isinstance(amount, int) and amount and (at := read_time(row, "created")):
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


def from_payout(obj: Json, as_of: int) -> list[StripeFact]:
    """Check that a payout has an id, and return no facts, because no payment's status depends on a payout.

    https://docs.stripe.com/api/payouts/object
    """
    if not _text(obj, "id"):
        raise MalformedObjectError("id is missing")
    return []


Reader = Callable[[Json, int], list[StripeFact]]  # an object and the time it was read (Unix seconds) to its facts


def one_fact(reader: Callable[[Json, int], StripeFact]) -> Reader:
    """Return a function that does what `reader` does, but returns its one fact (an object's state) in a list."""
    return lambda obj, as_of: [reader(obj, as_of)]


OBJECT_READERS: dict[str, Reader] = {
    "checkout.session": checkout_facts,
    "payment_intent": intent_facts,
    "setup_intent": setup_facts,
    "payment_method": one_fact(from_payment_method),
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
