"""Stripe's webhooks: guard, record, apply once. No call to Stripe's API is on this path."""

import datetime
import logging
import uuid
from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.contrib.auth.models import AbstractUser
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from .. import ledger, metrics
from ..db.statements import together, update
from ..ledger import Cause, Source
from ..models import EventReceipt
from . import djstripe
from .objects import EVENT_READERS, MalformedObjectError, from_event
from .signatures import LARGEST_BODY, Delivery, NotAnEventError, UnsignedError, parse_event, verified_body

logger = logging.getLogger(__name__)
Outcome = EventReceipt.Outcome

REFUSALS = {404: "No such endpoint.", 413: "The body is too large."}
SETTLED = ("outcome", "payment", "settled_at", "object_id", "detail")


@csrf_exempt
@require_POST
@transaction.non_atomic_requests
def stripe_webhook(request: HttpRequest, djstripe_uuid: uuid.UUID | None = None) -> HttpResponse:
    """https://docs.stripe.com/webhooks, wherever asgi.py doesn't answer it without all of Django."""
    announced = int(request.META.get("CONTENT_LENGTH") or 0)
    body = b"" if announced > LARGEST_BODY else request.body
    if max(announced, len(body)) > LARGEST_BODY:
        return refusal(413)
    signature = request.headers.get("Stripe-Signature", "")
    return answer(Delivery(body, signature, request.META["REMOTE_ADDR"], djstripe_uuid))


@metrics.timed
def answer(delivery: Delivery) -> HttpResponse:
    """Check, record, apply once. 2xx only when all is committed; raises when sending the same again may work."""
    named = djstripe.endpoint_of(delivery.endpoint) if delivery.endpoint else None
    if delivery.endpoint and not named:
        return refusal(404)
    secrets = [named.secret] if named else settings.STRIPE_WEBHOOK_SECRETS
    try:
        body = verified_body(delivery, secrets)
        event = parse_event(body)
    except (UnsignedError, NotAnEventError) as error:
        logger.warning("stripe_webhook_refused", extra={"reason": str(error)})
        return refusal(400, str(error))
    if event is None:
        return HttpResponse(Outcome.IGNORED_TYPE, content_type="text/plain")
    endpoint = named or djstripe.known_endpoint()
    try:
        with transaction.atomic(), together():
            receipt = _receive(event, endpoint.djstripe_owner_account_id, Source.WEBHOOK)
            if receipt.deliveries == 1 and receipt.type in EVENT_READERS:
                event_id = receipt.stripe_event_id if receipt.object_id else None
                djstripe.store_trigger(endpoint, body, delivery.remote_ip, event_id=event_id)
    except Exception as error:
        fail(event, error)
        djstripe.known_endpoint.cache_clear()  # somebody may have deleted it
        endpoint = named or djstripe.known_endpoint()
        djstripe.store_trigger(endpoint, body, delivery.remote_ip, error=type(error).__name__)
        raise
    received = {"stripe_event_id": event["id"], "type": event["type"], "outcome": receipt.outcome}
    logger.info("stripe_event_received", extra=received | {"deliveries": receipt.deliveries})
    metrics.received(receipt.outcome, receipt.deliveries, receipt.stripe_created)
    return HttpResponse(receipt.outcome, content_type="text/plain")


def refusal(status: int, text: str = "") -> HttpResponse:
    """What Stripe shows in its Dashboard beside the delivery."""
    metrics.refused(status)
    return HttpResponse(text or REFUSALS[status], status=status, content_type="text/plain")


def receive(
    event: Mapping[str, Any], source: Source = Source.WEBHOOK, *, again: bool = False, actor: AbstractUser | None = None
) -> EventReceipt:
    """Apply a trusted event, once however often it comes; `again` applies a settled one anew (a replay, by `actor`)."""
    with transaction.atomic(), together():
        account_id = djstripe.default_endpoint().djstripe_owner_account_id
        return _receive(event, account_id, source, again=again, actor=actor)


def _receive(
    event: Mapping[str, Any],
    account_id: str | None,
    source: Source,
    *,
    again: bool = False,
    actor: AbstractUser | None = None,
) -> EventReceipt:
    receipt = EventReceipt.objects.claim(event)
    if not receipt.done or again:
        _apply(event, receipt, account_id, source, actor)
        update(receipt, SETTLED)
    return receipt


def _apply(
    event: Mapping[str, Any], receipt: EventReceipt, account_id: str | None, source: Source, actor: AbstractUser | None
) -> None:
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
    djstripe.store_event(event, account_id, first=receipt.deliveries == 1)
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
            update(receipt, SETTLED)
    logger.error("stripe_event_failed", extra={"stripe_event_id": event["id"], "error": type(error).__name__})
