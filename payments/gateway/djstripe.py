"""dj-stripe's record of what Stripe sent: its deliveries and events, and the rows that it needs for them."""

import datetime
import uuid
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

from django.conf import settings
from django.db.models import QuerySet
from djstripe import event_handlers, signals
from djstripe.models import Account, APIKey, Event, WebhookEndpoint, WebhookEventTrigger

from ..db.statements import flush, insert, read
from ..models import EventReceipt
from .objects import EVENT_READERS

# Its receivers that would ask Stripe's API inside the webhook's transaction.
SYNCING_RECEIVERS = (
    event_handlers.handle_other_event,
    event_handlers.handle_charge_event,
    event_handlers.handle_charge_dispute_event,
)
UNSETTLED = (*EventReceipt.PENDING, EventReceipt.Outcome.FAILED)
DEFAULT_ENDPOINT = uuid.uuid5(uuid.NAMESPACE_URL, "payments-live/stripe/webhook")
AT_ONCE = 500  # bodies of deliveries that are read at once
ENDPOINT = "SELECT {columns} FROM djstripe_webhookendpoint WHERE djstripe_uuid = %s"


def disconnect_receivers() -> list[str]:
    """Take dj-stripe's syncing receivers off our event types. Returns the types from which some were taken."""
    taken = {
        event_type
        for event_type, signal in signals.WEBHOOK_SIGNALS.items()
        for receiver in SYNCING_RECEIVERS
        if event_type in EVENT_READERS and signal.disconnect(receiver, sender=Event)
    }
    return sorted(taken)


def bootstrap() -> WebhookEndpoint:
    """Make the rows that deliveries and events refer to, and the key's owner, from settings, not from Stripe."""
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
    return next(iter(read(ENDPOINT, [djstripe_uuid], WebhookEndpoint)), None)


def default_endpoint() -> WebhookEndpoint:
    """The row whose secrets are in settings, for the URL without a UUID."""
    return endpoint_of(DEFAULT_ENDPOINT) or bootstrap()


known_endpoint = cache(default_endpoint)  # asked for once in a process; not in a transaction, which may be undone


def store_event(event: Mapping[str, Any], account_id: str | None, *, first: bool) -> None:
    """dj-stripe's Event row of this account, once; receivers that others registered with dj-stripe run then too.

    Not by `Event.process`: it takes nine statements, and after a key's rotation asks Stripe whose key it is.
    `first` says that no earlier delivery can have stored it.
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
    """dj-stripe's record of one verified delivery."""
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
    """A stored Event as Stripe sent it; of a damaged row what is left, and at least its id."""
    return {"id": row.id, "type": row.type, **(row.stripe_data or {})}


def stored_events(
    *,
    ids: Sequence[str] = (),
    since: datetime.datetime | None = None,
    until: datetime.datetime | None = None,
    failed: bool = False,
    settled_too: bool = False,
) -> list[dict[str, Any]]:
    """Events in dj-stripe's tables, oldest first: stored ones, and bodies of deliveries whose event is not.

    Without `settled_too`, those whose receipt has nothing left to do are left out; `failed` keeps only those that have.
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
    """Unix seconds; 0 where a damaged row doesn't say."""
    return created if isinstance(created := event.get("created"), int) else 0


def bodies(triggers: "QuerySet[WebhookEventTrigger]") -> Iterator[dict[int, dict[str, Any]]]:
    """Events of which only the body of a delivery is kept, by the delivery's key; some at a time."""
    keys = list(triggers.filter(event=None).values_list("pk", flat=True))
    for start in range(0, len(keys), AT_ONCE):
        some = WebhookEventTrigger.objects.in_bulk(keys[start : start + AT_ONCE])
        events = {key: trigger.json_body for key, trigger in some.items()}
        yield {key: event for key, event in events.items() if isinstance(event, dict) and "id" in event}


def forget_deliveries(before: datetime.datetime) -> int:
    """Delete records of deliveries older than this; a body stays while it is all that is left for a replay."""
    old = WebhookEventTrigger.objects.filter(created__lt=before)
    deleted, _ = old.exclude(event=None).delete()
    settled = EventReceipt.objects.exclude(outcome__in=EventReceipt.UNAPPLIED)
    for events in bodies(old):
        found = settled.filter(stripe_event_id__in={event["id"] for event in events.values()})
        ids = set(found.values_list("stripe_event_id", flat=True))
        deleted += old.filter(pk__in=[key for key, event in events.items() if event["id"] in ids]).delete()[0]
    return int(deleted)
