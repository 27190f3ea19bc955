"""Stripe's webhooks: guard, record, apply once. No call to Stripe's API is on this path."""

import datetime
import json
import logging
import time
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import stripe
from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from . import ledger, metrics, recording
from .ledger import Cause, Source
from .models import EventReceipt
from .stripe_objects import EVENT_READERS, MalformedObjectError, from_event

logger = logging.getLogger(__name__)
Outcome = EventReceipt.Outcome

TOLERANCE = 300  # seconds between the signature's time and ours, either way
LARGEST_BODY = 256 * 1024  # bytes; Stripe's events are far smaller
REFUSALS = {404: "No such endpoint.", 413: "The body is too large."}
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


@csrf_exempt
@require_POST
@transaction.non_atomic_requests
def stripe_webhook(request: HttpRequest, djstripe_uuid: uuid.UUID | None = None) -> HttpResponse:
    """https://docs.stripe.com/webhooks, wherever webhook_app.py doesn't answer it without all of Django."""
    announced = int(request.META.get("CONTENT_LENGTH") or 0)
    body = b"" if announced > LARGEST_BODY else request.body
    if max(announced, len(body)) > LARGEST_BODY:
        return refusal(413)
    signature = request.headers.get("Stripe-Signature", "")
    return answer(Delivery(body, signature, request.META["REMOTE_ADDR"], djstripe_uuid))


@metrics.timed
def answer(delivery: Delivery) -> HttpResponse:
    """Check, record, apply once. 2xx only when all is committed; raises when sending the same again may work."""
    endpoint = recording.endpoint(delivery.endpoint)
    if endpoint is None:
        return refusal(404)
    secrets = [endpoint.secret] if delivery.endpoint else settings.STRIPE_WEBHOOK_SECRETS
    try:
        body = verified_body(delivery, secrets)
        event = parse_event(body)
    except (UnsignedError, NotAnEventError) as error:
        logger.warning("stripe_webhook_refused", extra={"reason": str(error)})
        return refusal(400, str(error))
    if event is None:
        return HttpResponse(Outcome.IGNORED_TYPE, content_type="text/plain")
    try:
        with transaction.atomic():
            receipt = receive(event)
            if receipt.deliveries == 1 and receipt.type in EVENT_READERS:
                event_id = receipt.stripe_event_id if receipt.object_id else None
                recording.store_trigger(endpoint, body, delivery.remote_ip, event_id=event_id)
    except Exception as error:
        fail(event, error)
        recording.store_trigger(endpoint, body, delivery.remote_ip, error=type(error).__name__)
        raise
    received = {"stripe_event_id": event["id"], "type": event["type"], "outcome": receipt.outcome}
    logger.info("stripe_event_received", extra=received | {"deliveries": receipt.deliveries})
    metrics.received(receipt.outcome, receipt.deliveries, receipt.stripe_created)
    return HttpResponse(receipt.outcome, content_type="text/plain")


def refusal(status: int, text: str = "") -> HttpResponse:
    """What Stripe shows in its Dashboard beside the delivery."""
    metrics.refused(status)
    return HttpResponse(text or REFUSALS[status], status=status, content_type="text/plain")


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


def receive(
    event: Mapping[str, Any], source: Source = Source.WEBHOOK, *, again: bool = False, actor: User | None = None
) -> EventReceipt:
    """Apply a trusted event, once however often it comes; `again` applies a settled one anew (a replay, by `actor`)."""
    with transaction.atomic():
        receipt = EventReceipt.objects.claim(event)
        if not receipt.done or again:
            _apply(event, receipt, source, actor)
            receipt.save()
    return receipt


def _apply(event: Mapping[str, Any], receipt: EventReceipt, source: Source, actor: User | None) -> None:
    receipt.detail = ""
    if event["livemode"] != settings.STRIPE_LIVE_MODE:
        return receipt.settle_as(Outcome.REJECTED_LIVEMODE)
    if event["type"] not in EVENT_READERS:
        return receipt.settle_as(Outcome.IGNORED_TYPE)
    if event.get("account") not in (None, "", settings.STRIPE_ACCOUNT_ID):
        return receipt.settle_as(Outcome.IGNORED_FOREIGN)
    try:
        facts = from_event(event)
    except MalformedObjectError as error:
        receipt.detail = str(error)[:200]
        return receipt.settle_as(Outcome.QUARANTINED)
    recording.store_event(event, first=receipt.deliveries == 1)
    receipt.object_id = facts[0].stripe_id
    occurred_at = datetime.datetime.fromtimestamp(event["created"], datetime.UTC)
    cause = Cause(source, stripe_event_id=event["id"], actor=actor, occurred_at=occurred_at)
    recorded = ledger.record(facts, cause)
    receipt.change = recorded.change
    return receipt.settle_as(recorded.outcome, recorded.payment)


def fail(event: Mapping[str, Any], error: Exception) -> None:
    """Remember, after the rollback, that applying failed; the next delivery tries again."""
    with transaction.atomic():
        receipt = EventReceipt.objects.claim(event)
        if not receipt.done:
            receipt.detail = type(error).__name__
            receipt.settle_as(Outcome.FAILED)
            receipt.save()
    logger.error("stripe_event_failed", extra={"stripe_event_id": event["id"], "error": type(error).__name__})
