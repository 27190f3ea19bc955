"""Reads and writes dj-stripe's tables of webhook deliveries, events, endpoints and accounts."""

import datetime
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from django.conf import settings
from django.db.models import QuerySet
from djstripe import event_handlers, signals
from djstripe.models import Account, APIKey, Event, WebhookEventTrigger
from djstripe.models import WebhookEndpoint as WebhookEndpoint

from ..db.statements import flush, insert, read
from ..models import EventReceipt
from .event_types import EVENT_READERS

# dj-stripe's receivers that would call Stripe's API inside the webhook's transaction.
SYNCING_RECEIVERS = (
    event_handlers.handle_other_event,
    event_handlers.handle_charge_event,
    event_handlers.handle_charge_dispute_event,
)
UNSETTLED = (*EventReceipt.PENDING, EventReceipt.Outcome.FAILED)  # outcomes that a replay may still change
DEFAULT_ENDPOINT = uuid.uuid5(uuid.NAMESPACE_URL, "payments-live/stripe/webhook")
KNOWN_SECONDS = 10  # how long a process may go on after the default endpoint's row was changed
BATCH = 500  # deliveries whose bodies are read at once
ENDPOINT = "SELECT {columns} FROM djstripe_webhookendpoint WHERE djstripe_uuid = %s"


def disconnect_receivers() -> list[str]:
    """Disconnect dj-stripe's signal receivers that would call Stripe's API, so that no webhook waits for Stripe.

    This is done for the event types that this site handles. Return the types that had such a receiver, sorted.
    """
    disconnected = {
        event_type
        for event_type, signal in signals.WEBHOOK_SIGNALS.items()
        for receiver in SYNCING_RECEIVERS
        if event_type in EVENT_READERS and signal.disconnect(receiver, sender=Event)
    }
    return sorted(disconnected)


def bootstrap() -> WebhookEndpoint:
    """Create or update dj-stripe's account, API key and webhook endpoint from settings; return the endpoint."""
    account, _ = Account.objects.get_or_create(id=settings.STRIPE_ACCOUNT_ID)
    APIKey.objects.update_or_create(
        secret=settings.STRIPE_SECRET_KEY,
        defaults={"type": "secret", "livemode": settings.STRIPE_LIVE_MODE, "djstripe_owner_account": account},
    )
    endpoint, _ = WebhookEndpoint.objects.update_or_create(
        djstripe_uuid=DEFAULT_ENDPOINT,
        defaults={
            "id": f"we_{DEFAULT_ENDPOINT.hex}",
            "url": f"{settings.SITE_URL}/stripe/webhook/",
            "secret": settings.STRIPE_WEBHOOK_SECRETS[0] if settings.STRIPE_WEBHOOK_SECRETS else "",
            "enabled_events": list(EVENT_READERS),
            "status": "enabled",
            "livemode": settings.STRIPE_LIVE_MODE,
            "djstripe_owner_account": account,
        },
    )
    return endpoint


def endpoint_of(djstripe_uuid: uuid.UUID) -> WebhookEndpoint | None:
    """Return the webhook endpoint that has this UUID in its URL, or None."""
    return next(iter(read(ENDPOINT, [djstripe_uuid], WebhookEndpoint)), None)


def default_endpoint() -> WebhookEndpoint:
    """Return the webhook endpoint whose URL has no UUID; the settings hold its signing secrets.

    The endpoint is created if it is missing, and updated if its mode (test or live) or account differs from the
    settings.
    """
    endpoint = endpoint_of(DEFAULT_ENDPOINT)
    return endpoint if endpoint and _is_of_this_site(endpoint) else bootstrap()


def known_endpoint() -> WebhookEndpoint:
    """Return the default endpoint from a cache, so that a process queries it only once in KNOWN_SECONDS.

    Call this outside transactions, because an endpoint that it creates inside one may be rolled back, but would stay in
    the cache.
    """
    return _endpoint_at(int(time.time() // KNOWN_SECONDS))


@lru_cache(maxsize=1)
def _endpoint_at(period: int) -> WebhookEndpoint:
    return default_endpoint()


forget_endpoint = _endpoint_at.cache_clear


def is_active(endpoint: WebhookEndpoint) -> bool:
    """Return whether the site accepts what this endpoint signs: it is enabled and has the site's mode and account."""
    return endpoint.status == "enabled" and _is_of_this_site(endpoint)


def _is_of_this_site(endpoint: WebhookEndpoint) -> bool:
    owner = endpoint.djstripe_owner_account_id
    return endpoint.livemode == settings.STRIPE_LIVE_MODE and owner in (None, settings.STRIPE_ACCOUNT_ID)


def store_event(event: Mapping[str, Any], account_id: str | None, *, first: bool) -> None:
    """Insert dj-stripe's Event row and call the receivers registered for its type; do nothing if the row exists.

    `first` is true for the event's first delivery; then the row can't exist, and the query for it is skipped.
    dj-stripe's `Event.process` isn't used, because it runs nine statements and, after an API key was rotated, calls
    Stripe's API to learn whose key it is.
    """
    if not first and Event.objects.filter(id=event["id"]).exists():
        return
    request = event.get("request")
    request = request if isinstance(request, Mapping) else {"id": request}
    row = Event(
        id=event["id"],
        type=event["type"],
        livemode=event["livemode"],
        created=datetime.datetime.fromtimestamp(event["created"], datetime.UTC),
        api_version=event.get("api_version") or "",
        request_id=str(request.get("id") or "")[:50],
        idempotency_key=str(request.get("idempotency_key") or ""),
        data=event["data"],
        stripe_data=dict(event),
        djstripe_owner_account_id=account_id,
    )
    insert(row)
    if (signal := signals.WEBHOOK_SIGNALS.get(row.type)) and signal.has_listeners(Event):
        flush()
        row.invoke_webhook_handlers()


def store_trigger(
    endpoint: WebhookEndpoint, body: str, remote_ip: str, *, event_id: str | None = None, error: str = ""
) -> None:
    """Insert dj-stripe's WebhookEventTrigger row for a webhook delivery whose signature was verified.

    `error` is the name of the exception that was raised while the event was handled, or "" if there was none.
    """
    trigger = WebhookEventTrigger(
        body=body,
        headers={"Content-Type": "application/json"},
        remote_ip=remote_ip,
        valid=True,
        processed=not error,
        exception=error[:128],
        event_id=event_id,
        webhook_endpoint=endpoint,
        stripe_trigger_account_id=endpoint.djstripe_owner_account_id,
    )
    insert(trigger)


def as_event(row: Event) -> dict[str, Any]:
    """Return the event that an Event row stores, as Stripe sent it.

    If the row's JSON is missing, return only the event's id and type.
    """
    return {"id": row.id, "type": row.type, **(row.stripe_data or {})}


def stored_events(
    *,
    ids: Sequence[str] = (),
    since: datetime.datetime | None = None,
    until: datetime.datetime | None = None,
    failed: bool = False,
    settled_too: bool = False,
) -> list[dict[str, Any]]:
    """Return stored Stripe events, oldest first, but only events of types that this site handles.

    They are read from dj-stripe's tables: from Event rows, and from webhook bodies without an Event row. If `ids` are
    given, only events with these ids are returned. `since` and `until` (excluded) limit when Stripe created the events.

    Events whose outcome is final (such as applied) are returned only if `settled_too` is true and `failed` is false.
    """
    stored = Event.objects.filter(type__in=EVENT_READERS)
    stored = stored.filter(id__in=ids) if ids else stored
    events = {row.id: as_event(row) for row in stored}
    for kept in bodies(WebhookEventTrigger.objects.filter(valid=True)):
        for event in kept.values():
            if event.get("type") in EVENT_READERS and (not ids or event["id"] in ids):
                events.setdefault(event["id"], event)
    outcomes = dict(EventReceipt.objects.filter(stripe_event_id__in=events).values_list("stripe_event_id", "outcome"))
    settled = {event_id for event_id, outcome in outcomes.items() if outcome not in UNSETTLED}
    first, last = since.timestamp() if since else 0, until.timestamp() if until else float("inf")
    chosen = [
        event
        for event_id, event in events.items()
        if first <= _created(event) < last and (event_id not in settled or (settled_too and not failed))
    ]
    return sorted(chosen, key=_created)


def _created(event: Mapping[str, Any]) -> int:
    """Return when Stripe created the event, in Unix seconds, or 0 if the stored event lacks a valid time."""
    return created if isinstance(created := event.get("created"), int) else 0


def bodies(triggers: "QuerySet[WebhookEventTrigger]") -> Iterator[dict[int, dict[str, Any]]]:
    """Yield the events in webhook deliveries that have no Event row, in dicts by the delivery's primary key.

    `triggers` are the deliveries to search. Each dict holds at most BATCH events.
    """
    keys = list(triggers.filter(event=None).values_list("pk", flat=True))
    for start in range(0, len(keys), BATCH):
        some = WebhookEventTrigger.objects.in_bulk(keys[start : start + BATCH])
        events = {key: trigger.json_body for key, trigger in some.items()}
        yield {key: event for key, event in events.items() if isinstance(event, dict) and "id" in event}


def forget_deliveries(before: datetime.datetime) -> int:
    """Delete dj-stripe's rows of webhook deliveries that are older than `before`; return how many were deleted.

    A row whose event has no Event row is kept until the event is handled or ignored, because a replay needs its body.
    """
    old = WebhookEventTrigger.objects.filter(created__lt=before)
    deleted, _ = old.exclude(event=None).delete()
    settled = EventReceipt.objects.exclude(outcome__in=EventReceipt.UNAPPLIED)
    for events in bodies(old):
        found = settled.filter(stripe_event_id__in={event["id"] for event in events.values()})
        ids = set(found.values_list("stripe_event_id", flat=True))
        deleted += old.filter(pk__in=[key for key, event in events.items() if event["id"] in ids]).delete()[0]
    return int(deleted)
