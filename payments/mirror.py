"""dj-stripe's rows: the account, key and endpoint that it needs, and its copies of what Stripe sent."""

import json
import uuid
from collections.abc import Mapping
from typing import Any

from django.conf import settings
from djstripe import event_handlers, signals
from djstripe.models import Account, APIKey, Event, WebhookEndpoint, WebhookEventTrigger

from .stripe_objects import EVENT_READERS

# Its receivers that would ask Stripe's API inside the webhook's transaction.
SYNCING_RECEIVERS = (
    event_handlers.handle_other_event,
    event_handlers.handle_charge_event,
    event_handlers.handle_charge_dispute_event,
)
DEFAULT_ENDPOINT = uuid.uuid5(uuid.NAMESPACE_URL, "payments-live/stripe/webhook")


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
    """Make the rows without which dj-stripe answers 500 to every event, from settings and without calling Stripe."""
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


def endpoint(djstripe_uuid: uuid.UUID | None) -> WebhookEndpoint | None:
    """The endpoint of a webhook URL: dj-stripe's row by its UUID, or the one whose secrets are in settings."""
    found = WebhookEndpoint.objects.filter(djstripe_uuid=djstripe_uuid or DEFAULT_ENDPOINT).first()
    return found or (None if djstripe_uuid else bootstrap())


def store_event(event: Mapping[str, Any]) -> Event:
    """dj-stripe's Event row; receivers that others registered with dj-stripe run too."""
    return Event.process(dict(event), api_key=settings.STRIPE_SECRET_KEY)


def store_trigger(
    endpoint: WebhookEndpoint, body: str, remote_ip: str, *, event_id: str | None = None, error: str = ""
) -> None:
    """dj-stripe's record of one verified delivery."""
    WebhookEventTrigger.objects.create(
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


def as_event(row: Event) -> dict[str, Any]:
    """A stored Event as Stripe sent it."""
    return json.loads(json.dumps(row.stripe_data)) if row.stripe_data else {}
