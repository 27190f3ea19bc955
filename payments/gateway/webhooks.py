"""Handles Stripe's events: verifies each webhook delivery, and applies any number of events in one transaction, once.

Nothing here calls Stripe's API.
"""

import datetime
import json
import logging
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from django.contrib.auth.models import AbstractUser
from django.db import IntegrityError, transaction
from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from .. import metrics
from ..conf import app_settings
from ..db.statements import insert
from ..domain.facts import StripeFact
from ..ledger import Cause, Ledger, Source
from ..linking import LockedRows
from ..logs import request_id
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
    UnsignedError,
    parse_event,
    verified_body,
)

logger = logging.getLogger(__name__)
Outcome = EventReceipt.Outcome

NO_ADDRESS = "0.0.0.0"  # noqa: S104 - dj-stripe's word for an unknown sender; nothing listens on it
REFUSALS = {404: "No such endpoint.", 413: "The body is too large."}
INACTIVE = "this webhook endpoint is disabled, or of another mode or account"
TRIES = 3  # when another process stores a row of the same event at the same moment


@dataclass(slots=True, kw_only=True)
class Incoming:
    """A Stripe event that was verified or fetched, and what became of it.

    `body` is the event's JSON as it was delivered by `endpoint` (a UUID, or None for the default endpoint). `facts` are
    the states of Stripe objects in the event; if there are none, `outcome` says why, and `detail` more about it. With
    `again`, an event that was handled before is handled again, for `actor`. `deliveries` is how often it was delivered.
    """

    event: Mapping[str, Any]
    body: str
    remote_ip: str = NO_ADDRESS
    endpoint: uuid.UUID | None = None
    source: Source = Source.WEBHOOK
    again: bool = False
    actor: AbstractUser | None = None
    facts: Sequence[StripeFact] = ()
    outcome: Outcome = Outcome.RECEIVED
    detail: str = ""
    deliveries: int = 0
    request_id: str = field(default_factory=request_id.get)


@csrf_exempt
@require_POST
@transaction.non_atomic_requests
def stripe_webhook(request: HttpRequest, djstripe_uuid: uuid.UUID | None = None) -> HttpResponse:
    """Answer a webhook delivery under WSGI and in Django's test client. Under ASGI, gateway/asgi.py answers it.

    An error while the event is handled is raised, so that the response becomes 5xx and Stripe sends the event again.
    https://docs.stripe.com/webhooks
    """
    announced = int(request.META.get("CONTENT_LENGTH") or 0)
    body = b"" if announced > LARGEST_BODY else request.body
    if max(announced, len(body)) > LARGEST_BODY:
        return refusal(413)
    signature = request.headers.get("Stripe-Signature", "")
    with metrics.WEBHOOK_SECONDS.time():
        opened = open_delivery(Delivery(body, signature, request.META["REMOTE_ADDR"], djstripe_uuid))
        if isinstance(opened, HttpResponse):
            return opened
        handle_alone(opened)
        report(opened)
        return acknowledgement(opened)


def open_delivery(delivery: Delivery) -> Incoming | HttpResponse:
    """Verify a webhook delivery; return the event in it or, if the delivery is refused or a thin event, the response.

    An error of the database is logged and raised.
    """
    try:
        endpoint = djstripe.find_endpoint(delivery.endpoint)
        if endpoint is None:
            return refusal(404)
        body = verified_body(delivery, [endpoint.secret] if delivery.endpoint else app_settings.STRIPE_WEBHOOK_SECRETS)
        if not endpoint.active:
            raise UnsignedError(INACTIVE)
        event = parse_event(body)
        incoming = Incoming(event=event, body=body, remote_ip=delivery.remote_ip, endpoint=delivery.endpoint)
        if event["object"] != THIN:
            classify(incoming)
            return incoming
    except (UnsignedError, NotAnEventError) as error:
        return refusal(400, str(error))
    except Exception:
        metrics.count_delivery("error")
        logger.exception("stripe_webhook_failed")
        raise
    incoming.outcome, incoming.deliveries = Outcome.IGNORED_TYPE, 1
    report(incoming)
    return acknowledgement(incoming)


def refusal(status: int, reason: str = "") -> HttpResponse:
    """Log and count a refused delivery, and return a response with this status and the text `reason`.

    Without `reason`, the text is REFUSALS[status]. Stripe's Dashboard shows the text beside the delivery.
    """
    reason = reason or REFUSALS[status]
    logger.warning("stripe_webhook_refused", extra={"status": status, "reason": reason})
    metrics.count_delivery(metrics.REFUSED[status])
    return HttpResponse(reason, status=status, content_type="text/plain")


def acknowledgement(incoming: Incoming) -> HttpResponse:
    return HttpResponse(incoming.outcome, content_type="text/plain")


def report(incoming: Incoming) -> None:
    """Log and count a delivery whose event is handled, and committed."""
    event, outcome, deliveries = incoming.event, incoming.outcome, incoming.deliveries
    fields = {"stripe_event_id": event["id"], "type": event["type"], "outcome": outcome, "deliveries": deliveries}
    logger.info("stripe_event_received", extra=fields)
    metrics.count_delivery(outcome if deliveries == 1 else f"{outcome}_again")
    if deliveries == 1 and event["object"] != THIN:
        metrics.observe_event_age(event["created"])


def classify(incoming: Incoming) -> None:
    """Read the facts (states of Stripe objects) in the event; if there are none, set the event's final outcome.

    An event about a payout has none. It only makes `manage.py mirror` copy the payout.
    """
    event, obj = incoming.event, object_of(incoming.event)
    if event["livemode"] != app_settings.STRIPE_LIVE_MODE:
        incoming.outcome = Outcome.REJECTED_LIVEMODE
    elif event["type"] not in EVENT_READERS:
        incoming.outcome = Outcome.IGNORED_TYPE
    elif event.get("account") not in (None, "", app_settings.STRIPE_ACCOUNT_ID) or names_another_site(obj):
        incoming.outcome = Outcome.IGNORED_FOREIGN
    else:
        try:
            incoming.facts = own_claims(obj, from_event(event))
            if not incoming.facts:
                incoming.outcome = Outcome.NO_CHANGE
        except MalformedObjectError as error:
            incoming.outcome, incoming.detail = Outcome.QUARANTINED, str(error)[:200]


def handle(
    batch: Sequence[Incoming], *, on_commit: Callable[[], object] | None = None, lock_timeout: str = ""
) -> list[EventReceipt]:
    """Handle events in this order, each once, in one transaction of two round trips; return their EventReceipt rows.

    Either all of it is committed, or nothing is, and the error is raised. After the commit, open pages get their
    entries, then `on_commit` is called, then signals about each change are sent. `lock_timeout` is the longest wait for
    one lock, such as "200ms"; "" means the connection's own limit.
    """
    endpoints = _endpoints_of(batch)
    with transaction.atomic():
        facts = chain.from_iterable(incoming.facts for incoming in batch)
        events = [incoming.event["id"] for incoming in batch]
        ledger = Ledger(LockedRows(facts, events=events, lock_timeout=lock_timeout))
        receipts = [_settle(incoming, ledger) for incoming in batch]
        for incoming, receipt in zip(batch, receipts, strict=True):  # now, as an event may settle one before it
            incoming.outcome = Outcome(receipt.outcome)
        new = [incoming for incoming in batch if incoming.deliveries == 1 and incoming.event["type"] in EVENT_READERS]
        records = [
            djstripe.delivery_record(endpoints[incoming.endpoint], incoming.body, incoming.remote_ip)
            for incoming in new
        ]
        ledger.write(insert(records), on_commit=on_commit)
    return receipts


def _endpoints_of(batch: Sequence[Incoming]) -> dict[uuid.UUID | None, djstripe.Endpoint | None]:
    """Return the endpoints that delivered these events, by UUID. This may query dj-stripe's tables, and add a row."""
    return {each: djstripe.find_endpoint(each) for each in {incoming.endpoint for incoming in batch}}


def _settle(incoming: Incoming, ledger: Ledger) -> EventReceipt:
    """Handle one event in memory, unless it was handled before; return its EventReceipt row."""
    event, receipt = incoming.event, ledger.rows.claim(incoming.event)
    incoming.deliveries, outcome, payment, receipt.change = receipt.deliveries, incoming.outcome, None, None
    if receipt.done and not incoming.again:
        return receipt
    if incoming.facts:
        occurred_at = datetime.datetime.fromtimestamp(event["created"], datetime.UTC)
        cause = Cause(incoming.source, event["id"], incoming.actor, occurred_at, incoming.request_id)
        recorded = ledger.record(incoming.facts, cause)
        outcome, payment, receipt.change = recorded.outcome, recorded.payment, recorded.change
        receipt.object_id = incoming.facts[0].stripe_id
    elif outcome == Outcome.NO_CHANGE:
        receipt.object_id = object_of(event)["id"]
    receipt.detail = incoming.detail
    receipt.settle_as(outcome, payment)
    return receipt


def handle_alone(incoming: Incoming, tries: int = TRIES) -> EventReceipt:
    """Handle one event in a transaction of its own; return its EventReceipt row.

    If another process stores the event at the same moment, it is tried again, `tries` times in all. Any other error is
    logged, stored in the event's EventReceipt row and raised; Stripe then delivers the event again.
    """
    try:
        return handle([incoming])[0]
    except Exception as error:
        if isinstance(error, IntegrityError) and tries > 1:
            djstripe.forget_endpoints()  # the row of an endpoint that is remembered may have been deleted
            return handle_alone(incoming, tries - 1)
        _fail(incoming, error)
        raise


def _fail(incoming: Incoming, error: Exception) -> None:
    """Log, count and store that handling the event raised `error`."""
    metrics.count_delivery("error")
    name = type(error).__name__
    fields = {"stripe_event_id": incoming.event["id"], "error": name}
    logger.error("stripe_event_failed", extra=fields, exc_info=error)
    endpoints = _endpoints_of([incoming])
    with transaction.atomic():
        rows = LockedRows((), events=[incoming.event["id"]])
        receipt = rows.claim(incoming.event)
        if not receipt.done:
            receipt.detail = name
            receipt.settle_as(Outcome.FAILED)
        record = djstripe.delivery_record(endpoints[incoming.endpoint], incoming.body, incoming.remote_ip, name)
        kept = incoming.source == Source.WEBHOOK or receipt.deliveries == 1  # else the first delivery's body is stored
        Ledger(rows).write(insert([record] if kept else []))


def receive(
    event: Mapping[str, Any], source: Source, *, again: bool = False, actor: AbstractUser | None = None
) -> EventReceipt:
    """Handle an event that was stored before or fetched from Stripe's API; return the event's EventReceipt row.

    An event that was handled before is handled again only if `again` is true. `actor` is the person who replays it. An
    error while the event is handled is stored in the EventReceipt row and raised. Raises NotAnEventError.
    """
    body = json.dumps(event)
    incoming = Incoming(event=parse_event(body), body=body, source=source, again=again, actor=actor)
    classify(incoming)
    return handle_alone(incoming)
