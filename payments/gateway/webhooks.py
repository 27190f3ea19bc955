"""Answers Stripe's webhooks: verifies each delivery, stores the event's EventReceipt row, and handles the event once.

Nothing here calls Stripe's API.
"""

import datetime
import json
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
from ..domain.facts import StripeFact
from ..ledger import Cause, Source
from ..models import EventReceipt
from . import djstripe
from .event_types import EVENT_READERS, from_event, object_of
from .metadata import names_another_site, own_claims
from .objects import MalformedObjectError
from .signatures import (
    LARGEST_BODY,
    THIN,
    Delivery,
    NotAnEventError,
    UnknownEndpointError,
    UnsignedError,
    parse_event,
    verified_body,
)

logger = logging.getLogger(__name__)
Outcome = EventReceipt.Outcome

NO_ADDRESS = "0.0.0.0"  # noqa: S104 - dj-stripe's word for an unknown sender; nothing listens on it
REFUSALS = {404: "No such endpoint.", 413: "The body is too large."}
INACTIVE = "this webhook endpoint is disabled, or of another mode or account"
SETTLED = ("outcome", "payment", "settled_at", "object_id", "detail")


@csrf_exempt
@require_POST
@transaction.non_atomic_requests
def stripe_webhook(request: HttpRequest, djstripe_uuid: uuid.UUID | None = None) -> HttpResponse:
    """Answer a webhook delivery under WSGI and in Django's test client. Under ASGI, gateway/asgi.py answers it.

    https://docs.stripe.com/webhooks
    """
    announced = int(request.META.get("CONTENT_LENGTH") or 0)
    body = b"" if announced > LARGEST_BODY else request.body
    if max(announced, len(body)) > LARGEST_BODY:
        return refusal(413)
    signature = request.headers.get("Stripe-Signature", "")
    return answer(Delivery(body, signature, request.META["REMOTE_ADDR"], djstripe_uuid))


@metrics.WEBHOOK_SECONDS.time()
def answer(delivery: Delivery) -> HttpResponse:
    """Verify a webhook delivery, handle its event once, and return the response: 2xx only if everything is committed.

    Each delivery is logged once and counted once in the metrics. An error while the event is handled is raised, so that
    the response becomes 5xx and Stripe sends the event again.
    """
    event: dict[str, Any] | None = None
    try:
        named, secrets = _endpoint_of(delivery)
        body = verified_body(delivery, secrets)
        if not djstripe.is_active(named or djstripe.known_endpoint()):
            raise UnsignedError(INACTIVE)
        event = parse_event(body)
        if event["object"] == THIN:
            return _acknowledgement(event, Outcome.IGNORED_TYPE)
        receipt = _store_and_apply(event, body, delivery, named)
    except UnknownEndpointError:
        return refusal(404)
    except (UnsignedError, NotAnEventError) as error:
        return refusal(400, str(error))
    except Exception as error:
        metrics.count_delivery("error")
        if event is None:
            logger.exception("stripe_webhook_failed")
        else:
            logger.exception(
                "stripe_event_failed", extra={"stripe_event_id": event["id"], "error": type(error).__name__}
            )
        raise
    if receipt.deliveries == 1:
        metrics.observe_event_age(receipt.stripe_created)
    return _acknowledgement(event, Outcome(receipt.outcome), receipt.deliveries)


def refusal(status: int, reason: str = "") -> HttpResponse:
    """Log and count a refused delivery, and return a response with this status and the text `reason`.

    Without `reason`, the text is REFUSALS[status]. Stripe's Dashboard shows the text beside the delivery.
    """
    reason = reason or REFUSALS[status]
    logger.warning("stripe_webhook_refused", extra={"status": status, "reason": reason})
    metrics.count_delivery(metrics.REFUSED[status])
    return HttpResponse(reason, status=status, content_type="text/plain")


def _acknowledgement(event: Mapping[str, Any], outcome: Outcome, deliveries: int = 1) -> HttpResponse:
    """Log and count an accepted delivery, and return 200. `deliveries` is how often Stripe has delivered this event."""
    fields = {"stripe_event_id": event["id"], "type": event["type"], "outcome": outcome, "deliveries": deliveries}
    logger.info("stripe_event_received", extra=fields)
    metrics.count_delivery(outcome if deliveries == 1 else f"{outcome}_again")
    return HttpResponse(outcome, content_type="text/plain")


def _endpoint_of(delivery: Delivery) -> "tuple[djstripe.WebhookEndpoint | None, list[str]]":
    """Return the webhook endpoint in the delivery's URL, and its signing secrets. Raises UnknownEndpointError.

    The endpoint is None if the URL contains no UUID; then the secrets are the default endpoint's.
    """
    if delivery.endpoint is None:
        return None, settings.STRIPE_WEBHOOK_SECRETS
    endpoint = djstripe.endpoint_of(delivery.endpoint)
    if endpoint is None:
        raise UnknownEndpointError
    return endpoint, [endpoint.secret]


def _store_and_apply(
    event: Mapping[str, Any], body: str, delivery: Delivery, named: "djstripe.WebhookEndpoint | None"
) -> EventReceipt:
    """Handle a verified event and store it in dj-stripe's tables, in one transaction; return its EventReceipt row.

    If this fails, store the failure in another transaction and raise the error. `named` is the webhook endpoint that
    the URL names, or None for the default endpoint.
    """
    endpoint = named or djstripe.known_endpoint()
    try:
        with transaction.atomic(), together():
            receipt = _apply_once(event, endpoint.djstripe_owner_account_id, Source.WEBHOOK)
            if receipt.deliveries == 1 and receipt.type in EVENT_READERS:
                event_id = receipt.stripe_event_id if receipt.object_id else None
                djstripe.store_trigger(endpoint, body, delivery.remote_ip, event_id=event_id)
    except Exception as error:
        _store_failure(event, error)
        djstripe.forget_endpoint()  # the cached endpoint's row may have been deleted
        endpoint = named or djstripe.known_endpoint()
        djstripe.store_trigger(endpoint, body, delivery.remote_ip, error=type(error).__name__)
        raise
    return receipt


def receive(
    event: Mapping[str, Any], source: Source = Source.WEBHOOK, *, again: bool = False, actor: AbstractUser | None = None
) -> EventReceipt:
    """Handle an event that was stored before or fetched from Stripe's API; return the event's EventReceipt row.

    An event that was handled before is handled again only if `again` is true. `actor` is the person who replays it. An
    error while the event is handled is stored in the EventReceipt row and raised.
    """
    try:
        with transaction.atomic(), together():
            account_id = djstripe.default_endpoint().djstripe_owner_account_id
            receipt = _apply_once(event, account_id, source, again=again, actor=actor)
            if receipt.outcome == Outcome.QUARANTINED:
                _keep_body(event, receipt)
    except Exception as error:
        _keep_body(event, _store_failure(event, error), type(error).__name__)
        raise
    return receipt


def _keep_body(event: Mapping[str, Any], receipt: EventReceipt, error: str = "") -> None:
    """Store an event that was fetched from Stripe's API but couldn't be handled, so that it can be replayed.

    The event is stored in the table of webhook deliveries.
    """
    if receipt.deliveries == 1:  # later ones find the stored body of the first
        djstripe.store_trigger(djstripe.default_endpoint(), json.dumps(event), NO_ADDRESS, error=error)


def _apply_once(
    event: Mapping[str, Any],
    account_id: str | None,
    source: Source,
    *,
    again: bool = False,
    actor: AbstractUser | None = None,
) -> EventReceipt:
    """Handle the event unless that was done before, store the outcome, and return the event's EventReceipt row.

    The row stays locked until the commit. If `again` is true, an event that was handled before is handled again.
    `account_id` is the id of the Stripe account that owns dj-stripe's rows.
    """
    receipt = EventReceipt.objects.claim(event)
    if receipt.done and not again:
        return receipt
    outcome, facts, receipt.detail = _classify(event)
    payment = None
    if facts:
        djstripe.store_event(event, account_id, first=receipt.deliveries == 1)
        occurred_at = datetime.datetime.fromtimestamp(event["created"], datetime.UTC)
        cause = Cause(source, stripe_event_id=event["id"], actor=actor, occurred_at=occurred_at)
        recorded = ledger.record(facts, cause)
        outcome, payment = recorded.outcome, recorded.payment
        receipt.object_id, receipt.change = facts[0].stripe_id, recorded.change
    receipt.settle_as(outcome, payment)
    update(receipt, SETTLED)
    return receipt


def _classify(event: Mapping[str, Any]) -> tuple[Outcome, list[StripeFact], str]:
    """Return the event's outcome, the facts to record (states of its Stripe objects), and an error text or "".

    The outcome is RECEIVED for an event whose facts are to be recorded. Any other event gets a final outcome and no
    facts.
    """
    if event["livemode"] != settings.STRIPE_LIVE_MODE:
        return Outcome.REJECTED_LIVEMODE, [], ""
    if event["type"] not in EVENT_READERS:
        return Outcome.IGNORED_TYPE, [], ""
    obj = object_of(event)
    if event.get("account") not in (None, "", settings.STRIPE_ACCOUNT_ID) or names_another_site(obj):
        return Outcome.IGNORED_FOREIGN, [], ""
    try:
        return Outcome.RECEIVED, own_claims(obj, from_event(event)), ""
    except MalformedObjectError as error:
        return Outcome.QUARANTINED, [], str(error)[:200]


def _store_failure(event: Mapping[str, Any], error: Exception) -> EventReceipt:
    """Store the error in the event's EventReceipt row, in its own transaction.

    When Stripe delivers the event again, it is handled again.
    """
    with transaction.atomic():
        receipt = EventReceipt.objects.claim(event)
        if not receipt.done:
            receipt.detail = type(error).__name__
            receipt.settle_as(Outcome.FAILED)
            update(receipt, SETTLED)
    return receipt
