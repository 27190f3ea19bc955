"""Checks a webhook delivery before any of it is stored: Stripe's signature of the body, and the event in the body."""

import re
import time
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
import stripe

from .objects import LAST_SECOND, WELL_FORMED

TOLERANCE = 300  # seconds that the signature's time may differ from ours, either way
TIME = re.compile(r"[1-9][0-9]{0,11}")  # Unix seconds in plain digits, as Stripe writes them
LARGEST_BODY = 256 * 1024  # bytes; Stripe's events are far smaller
LONGEST = {"id": 255, "type": 250}  # characters, by the event's field
DEEPEST = 63  # objects and lists inside each other; Stripe's events have about ten
THIN = "v2.core.event"  # https://docs.stripe.com/event-destinations#thin-events


class UnsignedError(ValueError):
    """Raised when no active endpoint's secret signed a webhook delivery, or its time is over five minutes off."""


class NotAnEventError(ValueError):
    """Raised when a signed body isn't the JSON of a Stripe event."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One POST to the webhook's URL. `endpoint` is the UUID in the URL, or None if the URL has no UUID."""

    body: bytes
    signature: str
    remote_ip: str
    endpoint: uuid.UUID | None = None


def verified_body(delivery: Delivery, secrets: Iterable[str]) -> str:
    """Return the delivery's body as text if it was signed with one of `secrets`; otherwise raise UnsignedError."""
    header = delivery.signature
    try:
        body = delivery.body.decode()
        header.encode("ascii")
    except ValueError:
        raise UnsignedError("invalid signature") from None
    signed_at = _signed_at(header)
    if abs(time.time() - signed_at) > TOLERANCE:  # the SDK's own check accepts times in the future
        raise UnsignedError("signature outside the tolerance of 5 minutes: check this machine's clock")
    for secret in filter(None, secrets):
        try:
            stripe.WebhookSignature.verify_header(body, header, secret)
            return body
        except stripe.SignatureVerificationError:
            continue
    raise UnsignedError("invalid signature")


def _signed_at(header: str) -> int:
    """Return the Unix time in the Stripe-Signature header. Raises UnsignedError unless there is exactly one time.

    The SDK checks the signature against the first time only. Any other time isn't signed, and somebody could have added
    it to an old delivery to make it look new. https://docs.stripe.com/webhooks#verify-manually
    """
    fields = [item.partition("=") for item in header.split(",")]
    times = [value for name, _, value in fields if name.strip() == "t"]
    if len(times) != 1 or not TIME.fullmatch(times[0]):
        raise UnsignedError("invalid signature")
    return int(times[0])


def parse_event(body: str) -> dict[str, Any]:
    """Return the Stripe event in the JSON text `body`, whose signature was verified. Raises NotAnEventError.

    Of a thin event, which names an object instead of containing it, only `object`, `id` and `type` are returned.
    """
    try:
        event = orjson.loads(body)  # refuses NaN, Infinity and lone surrogates, as databases do
    except orjson.JSONDecodeError:
        raise NotAnEventError("not JSON") from None
    if isinstance(event, dict) and event.get("object") == THIN:
        return {"object": THIN} | {name: str(event.get(name, ""))[:most] for name, most in LONGEST.items()}
    if not isinstance(event, dict) or not _is_envelope(event) or "\\u0000" in body or _is_deeper(event, DEEPEST):
        raise NotAnEventError("not a Stripe event")
    return event


def _is_envelope(event: Mapping[str, Any]) -> bool:
    """Return whether the event's own fields fit into the database's columns, and its id into a URL's path."""
    created, livemode = event.get("created"), event.get("livemode")
    return bool(
        all(isinstance(event.get(name), str) and 0 < len(event[name]) <= most for name, most in LONGEST.items())
        and WELL_FORMED.fullmatch(event["id"])
        and event.get("object") == "event"
        and (type(created) is int and 0 <= created < LAST_SECOND)
        and isinstance(livemode, bool)
        and len(str(event.get("api_version"))) <= 64
    )


def _is_deeper(value: dict[str, Any] | list[Any], levels: int) -> bool:
    """Return whether a value nests deeper than `levels`; databases parse JSON recursively and fail at some depth."""
    inner = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(_is_deeper(each, levels - 1) for each in inner if isinstance(each, dict | list))
