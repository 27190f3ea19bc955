"""What may come in: a body that Stripe signed lately, and the event in it. Nothing is stored before that is known."""

import json
import time
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import stripe

TOLERANCE = 300  # seconds between the signature's time and ours, either way
LARGEST_BODY = 256 * 1024  # bytes; Stripe's events are far smaller
LONGEST = {"id": 255, "type": 250}  # characters
LAST_SECOND = 2**36  # of Unix time that a date can be made of
DEEPEST = 64  # levels of nesting; Stripe's events have about ten


class UnsignedError(ValueError):
    """The body is not what Stripe signed with one of our secrets in the last five minutes."""


class NotAnEventError(ValueError):
    """Signed, but not the JSON of an event."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One POST to the webhook's URL; `endpoint` is the UUID in it, if there is one."""

    body: bytes
    signature: str
    remote_ip: str
    endpoint: uuid.UUID | None = None


def verified_body(delivery: Delivery, secrets: Iterable[str]) -> str:
    """The body, once one of the secrets has signed it. Raises UnsignedError."""
    header = delivery.signature
    try:
        body = delivery.body.decode()
        header.encode("ascii")
        signed_at = int(dict(item.split("=", 1) for item in header.split(",") if "=" in item)["t"])
    except (ValueError, KeyError):
        raise UnsignedError("invalid signature") from None
    if abs(time.time() - signed_at) > TOLERANCE:  # the SDK's own check lets times in the future pass
        raise UnsignedError("signature outside the tolerance of 5 minutes: check this machine's clock")
    for secret in filter(None, secrets):
        try:
            stripe.WebhookSignature.verify_header(body, header, secret)
            return body
        except stripe.SignatureVerificationError:
            continue
    raise UnsignedError("invalid signature")


def parse_event(body: str) -> dict[str, Any] | None:
    """The event in a verified body; None for a v2 thin event. Raises NotAnEventError."""
    try:
        event = json.loads(body)
        json.dumps(event, ensure_ascii=False, allow_nan=False).encode()  # no database keeps NaN or half a character
    except (ValueError, RecursionError):
        raise NotAnEventError("not JSON") from None
    if isinstance(event, dict) and event.get("object") == "v2.core.event":
        return None
    if not isinstance(event, dict) or not _is_envelope(event) or "\\u0000" in body or _is_deeper(event, DEEPEST):
        raise NotAnEventError("not a Stripe event")
    return event


def _is_envelope(event: Mapping[str, Any]) -> bool:
    """Whether rows can be made of it."""
    created, livemode = event.get("created"), event.get("livemode")
    return (
        all(isinstance(event.get(name), str) and 0 < len(event[name]) <= most for name, most in LONGEST.items())
        and event.get("object") == "event"
        and (type(created) is int and 0 <= created < LAST_SECOND)
        and isinstance(livemode, bool)
        and len(str(event.get("api_version"))) <= 64
    )


def _is_deeper(value: Any, levels: int) -> bool:
    """Whether something lies further in: databases and what reads them again recurse, and fail at some depth."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return levels == 0 or any(_is_deeper(each, levels - 1) for each in inner)
