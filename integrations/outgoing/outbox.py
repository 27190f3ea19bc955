"""Makes messages to webhook endpoints from the staff's feed, the numbered list of all committed changes of payments.

Each endpoint has its own place in the feed, which is committed together with the messages made. So no change is lost or
told twice to an endpoint, and the transactions that make changes know nothing of endpoints.
"""

import json
import logging
import uuid
from typing import Any

from django.db import transaction
from django.utils import timezone

from payments.models import Feed, FeedEntry, Installation
from payments.models.feed import STAFF

from ..change_data import change_data
from ..models import WebhookEndpoint, WebhookMessage
from . import event_types

logger = logging.getLogger(__name__)

BATCH = 100  # entries of the feed that are read in one transaction


class TooOldError(Exception):
    """Raised when messages can't be made from a number, because the entry is deleted; `first` is the first one kept."""

    def __init__(self, first: int) -> None:
        super().__init__(first)
        self.first = first


def queue() -> None:
    """Make the messages about all changes that active endpoints haven't been told of."""
    for endpoint in WebhookEndpoint.objects.behind():
        while _queue_batch(endpoint.pk):
            pass


def _queue_batch(endpoint_id: int) -> bool:
    """Make messages about the next BATCH changes, and return whether there may be more."""
    with transaction.atomic():
        endpoint = WebhookEndpoint.objects.select_for_update().get(pk=endpoint_id)
        _note_restore(endpoint)
        feed = Feed.objects.of(STAFF)
        if endpoint.seq < feed.pruned:
            lost = {"endpoint": endpoint.pk, "first": endpoint.seq + 1, "last": feed.pruned}
            logger.error("webhook_entries_deleted", extra=lost)
            endpoint.seq = feed.pruned
        unread = FeedEntry.objects.filter(feed__audience=STAFF, seq__gt=endpoint.seq, seq__lte=feed.head)
        entries = list(unread.order_by("seq").select_related("change__payment__appointment")[:BATCH])
        messages = [_message_about(entry, endpoint, feed.epoch) for entry in entries]
        WebhookMessage.objects.bulk_create(
            [message for message in messages if endpoint.wants(message.type)],
            update_conflicts=True,  # a change that is told again, because somebody asked for it
            unique_fields=["endpoint", "change"],
            update_fields=["tries", "try_at", "delivered_at", "given_up_at"],
        )
        endpoint.seq = entries[-1].seq if entries else feed.head
        endpoint.save(update_fields=["seq", "epoch"])
        return endpoint.seq < feed.head


def _note_restore(endpoint: WebhookEndpoint) -> None:
    """If a backup was restored, make a message that says so.

    Since the backup the endpoint may have been told of changes that this database doesn't know.
    """
    epoch = Installation.objects.get().epoch
    if endpoint.epoch != epoch:
        endpoint.epoch = epoch
        _send_plain(endpoint, event_types.RESTORED, f"msg_restored_{epoch}", {"epoch": epoch, "seq": endpoint.seq})


def _message_about(entry: FeedEntry, endpoint: WebhookEndpoint, epoch: str) -> WebhookMessage:
    change = entry.change
    event_type = event_types.type_of(change)
    data = change_data(change.payment, change) | {"seq": entry.seq, "epoch": epoch}
    return WebhookMessage(
        endpoint=endpoint,
        webhook_id=f"msg_{epoch}_{entry.seq}",
        type=event_type,
        payment=change.payment,
        change=change,
        body=_body(event_type, change.created_at.isoformat(timespec="milliseconds"), data),
    )


def _body(event_type: str, timestamp: str, data: dict[str, Any]) -> str:
    """Return the message's text, as https://github.com/standard-webhooks/standard-webhooks describes it."""
    return json.dumps({"type": event_type, "timestamp": timestamp, "data": data}, separators=(",", ":"))


def send_test(endpoint: WebhookEndpoint) -> WebhookMessage:
    """Make a message that is about no payment, and return it."""
    return _send_plain(endpoint, event_types.TEST, f"msg_test_{uuid.uuid4().hex}", {"endpoint": endpoint.pk})


def _send_plain(endpoint: WebhookEndpoint, event_type: str, webhook_id: str, data: dict[str, Any]) -> WebhookMessage:
    body = _body(event_type, timezone.now().isoformat(timespec="milliseconds"), data)
    return WebhookMessage.objects.create(endpoint=endpoint, webhook_id=webhook_id, type=event_type, body=body)


def tell_again(endpoint: WebhookEndpoint, seq: int) -> None:
    """Have the endpoint told again of all changes from number `seq`, with the ids of the first time.

    Raises TooOldError if the entry of this number is deleted.
    """
    with transaction.atomic():
        locked = WebhookEndpoint.objects.select_for_update().get(pk=endpoint.pk)
        feed = Feed.objects.of(STAFF)
        if seq <= feed.pruned:
            raise TooOldError(feed.pruned + 1)
        WebhookEndpoint.objects.filter(pk=locked.pk).update(seq=min(seq - 1, locked.seq))
