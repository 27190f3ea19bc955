"""Reads and writes dj-stripe's tables of webhook deliveries, events, endpoints and accounts."""

import datetime
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import PermissionDenied
from django.db import connection
from django.db.models import QuerySet
from django.http import HttpRequest
from djstripe import event_handlers, signals
from djstripe.admin.views import ConfirmCustomAction
from djstripe.models import Account, APIKey, Event, WebhookEndpoint, WebhookEventTrigger

from ..addresses import absolute
from ..conf import app_settings
from ..models import EventReceipt
from .event_types import EVENT_READERS

# dj-stripe's receivers that would call Stripe's API.
SYNCING_RECEIVERS = (
    event_handlers.handle_other_event,
    event_handlers.handle_charge_event,
    event_handlers.handle_charge_dispute_event,
)
UNSETTLED = (*EventReceipt.PENDING, EventReceipt.Outcome.FAILED)  # outcomes that a replay may still change
DEFAULT_ENDPOINT = uuid.uuid5(uuid.NAMESPACE_URL, "payments-live/stripe/webhook")
KNOWN_SECONDS = 10  # how long a process may go on after an endpoint's row was changed
BATCH = 500  # deliveries whose bodies are read at once


def restrict_actions() -> None:
    """Let only superusers run dj-stripe's actions of the admin, which call Stripe, and only by POST.

    dj-stripe itself lets all staff run them, without looking at permissions.
    """
    run = ConfirmCustomAction.post

    def post(view: ConfirmCustomAction, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        if not getattr(request.user, "is_superuser", False):
            raise PermissionDenied
        return run(view, request, *args, **kwargs)

    ConfirmCustomAction.post, ConfirmCustomAction.http_method_names = post, ["post"]


def disconnect_receivers() -> list[str]:
    """Disconnect dj-stripe's signal receivers that would call Stripe's API, so that storing events needs no Stripe.

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
    account, _ = Account.objects.get_or_create(id=app_settings.STRIPE_ACCOUNT_ID)
    APIKey.objects.update_or_create(
        secret=app_settings.STRIPE_SECRET_KEY,
        defaults={"type": "secret", "livemode": app_settings.STRIPE_LIVE_MODE, "djstripe_owner_account": account},
    )
    endpoint, _ = WebhookEndpoint.objects.update_or_create(
        djstripe_uuid=DEFAULT_ENDPOINT,
        defaults={
            "id": f"we_{DEFAULT_ENDPOINT.hex}",
            "url": absolute("clinic:stripe_webhook"),
            "secret": app_settings.STRIPE_WEBHOOK_SECRETS[0] if app_settings.STRIPE_WEBHOOK_SECRETS else "",
            "enabled_events": list(EVENT_READERS),
            "status": "enabled",
            "livemode": app_settings.STRIPE_LIVE_MODE,
            "djstripe_owner_account": account,
        },
    )
    return endpoint


def earlier_keys() -> "QuerySet[APIKey]":
    """Return dj-stripe's rows of other API keys of this site's account and mode, which a new key has replaced."""
    account, mode = app_settings.STRIPE_ACCOUNT_ID, app_settings.STRIPE_LIVE_MODE
    ours: QuerySet[APIKey] = APIKey.objects.filter(djstripe_owner_account=account, livemode=mode)
    return ours.exclude(secret=app_settings.STRIPE_SECRET_KEY)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What the site needs to know of a row in dj-stripe's table of webhook endpoints.

    `active` is whether the site accepts what the endpoint signs: it is enabled and has the site's mode and account.
    """

    id: str
    secret: str
    account_id: str | None
    active: bool


_known: dict[uuid.UUID, tuple[float, Endpoint]] = {}  # endpoints by UUID, each with the time until which it counts
forget_endpoints = _known.clear


def find_endpoint(djstripe_uuid: uuid.UUID | None) -> Endpoint | None:
    """Return the webhook endpoint that has this UUID in its URL, or None if there is none.

    None as UUID means the default endpoint, which is created if it is missing. A process queries each endpoint only
    once in KNOWN_SECONDS; what a transaction reads isn't remembered, because it may be rolled back.
    """
    key = djstripe_uuid or DEFAULT_ENDPOINT
    until, known = _known.get(key, (0.0, None))
    if time.time() >= until:
        row = default_endpoint() if djstripe_uuid is None else _endpoint_row(djstripe_uuid)
        if row is None:
            return None
        active = row.status == "enabled" and _is_of_this_site(row)
        known = Endpoint(row.id, row.secret, row.djstripe_owner_account_id, active)
        if not connection.in_atomic_block:
            _known[key] = time.time() + KNOWN_SECONDS, known
    return known


def default_endpoint() -> WebhookEndpoint:
    """Return the webhook endpoint whose URL has no UUID; the settings hold its signing secrets.

    The endpoint is created if it is missing, and updated if its mode (test or live) or account differs from the
    settings.
    """
    endpoint = _endpoint_row(DEFAULT_ENDPOINT)
    return endpoint if endpoint and _is_of_this_site(endpoint) else bootstrap()


def _endpoint_row(djstripe_uuid: uuid.UUID) -> WebhookEndpoint | None:
    return WebhookEndpoint.objects.filter(djstripe_uuid=djstripe_uuid).first()


def _is_of_this_site(endpoint: WebhookEndpoint) -> bool:
    owner = endpoint.djstripe_owner_account_id
    return endpoint.livemode == app_settings.STRIPE_LIVE_MODE and owner in (None, app_settings.STRIPE_ACCOUNT_ID)


def delivery_record(endpoint: Endpoint | None, body: str, remote_ip: str, error: str = "") -> WebhookEventTrigger:
    """Return dj-stripe's row, not yet stored, for a webhook delivery whose signature was verified.

    `error` is the name of the exception that was raised while the event was handled, or "" if there was none. The
    endpoint is None if its row was deleted meanwhile.
    """
    return WebhookEventTrigger(
        body=body,
        headers={"Content-Type": "application/json"},
        remote_ip=remote_ip,
        valid=True,
        processed=not error,
        exception=error[:128],
        webhook_endpoint_id=endpoint.id if endpoint else None,
        stripe_trigger_account_id=endpoint.account_id if endpoint else None,
    )


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

    A row whose event has no Event row is kept until the event is handled and its Event row is stored, or it is ignored,
    because both need its body.
    """
    old = WebhookEventTrigger.objects.filter(created__lt=before)
    deleted, _ = old.exclude(event=None).delete()
    settled = EventReceipt.objects.exclude(outcome__in=EventReceipt.UNAPPLIED)
    settled = settled.exclude(pk__in=EventReceipt.objects.unstored().values("pk"))
    for events in bodies(old):
        found = settled.filter(stripe_event_id__in={event["id"] for event in events.values()})
        ids = set(found.values_list("stripe_event_id", flat=True))
        deleted += old.filter(pk__in=[key for key, event in events.items() if event["id"] in ids]).delete()[0]
    return int(deleted)
