"""The background job that sends webhooks: one thread for each endpoint that has messages, up to a number."""

import datetime
import logging
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress

from django.db import close_old_connections
from django.utils import timezone

from payments.addresses import keep_server_prefix

from ..models import WebhookEndpoint, WebhookMessage
from . import secrets
from .delivery import deliver
from .outbox import queue

logger = logging.getLogger(__name__)

THREADS = 8  # endpoints that are served at once
BATCH = 20  # messages that are looked up at once
TURN = 30.0  # seconds after which an endpoint that has more messages queues up behind the others
KEPT_FOR = datetime.timedelta(days=30)  # messages that are delivered or given up, with their answers


class Dispatcher:
    """Makes messages about new changes, and serves each endpoint in a thread, so that none waits for another."""

    def __init__(self) -> None:
        self.pool = ThreadPoolExecutor(THREADS, "webhook", keep_server_prefix)
        self.turns: dict[int, Future[None]] = {}  # by endpoint
        self.stopping = threading.Event()

    def round(self) -> None:
        """Make messages, and start a turn of each endpoint that has messages and whose turn isn't under way."""
        queue()
        self.turns = {endpoint: turn for endpoint, turn in self.turns.items() if not turn.done()}
        due = WebhookMessage.objects.due().order_by("endpoint").values_list("endpoint", flat=True).distinct()
        for endpoint in due:
            if endpoint not in self.turns:
                self.turns[endpoint] = self.pool.submit(self.take_turn, endpoint)

    def take_turn(self, endpoint: int) -> None:
        """Send the endpoint's messages that are due, until one fails or the turn is over."""
        over_at = time.monotonic() + TURN
        try:
            while due := list(WebhookMessage.objects.due().filter(endpoint=endpoint)[:BATCH]):
                for message in due:
                    if self.stopping.is_set() or time.monotonic() > over_at or not deliver(message):
                        return
        except Exception:
            logger.exception("webhook_turn_failed", extra={"endpoint": endpoint})
        finally:
            close_old_connections()

    def finish(self) -> None:
        """Wait for the turns that have begun."""
        self.pool.shutdown()

    def stop(self) -> None:
        """Wait for the messages under way, and send no others."""
        self.stopping.set()
        self.pool.shutdown(cancel_futures=True)


def tidy() -> None:
    """Delete old messages. Encrypt all secrets with the current SECRET_KEY, so that an earlier one can be removed.

    A secret that can't be decrypted stays as it is; the doctor reports it.
    """
    before = timezone.now() - KEPT_FOR
    WebhookMessage.objects.exclude(delivered_at=None, given_up_at=None).filter(created_at__lt=before).delete()
    for endpoint in WebhookEndpoint.objects.all():
        for name in ("secret", "old_secret"):
            if stored := getattr(endpoint, name):
                with suppress(secrets.SecretLostError):
                    changed = {name: secrets.encrypt_again(stored)}
                    WebhookEndpoint.objects.filter(pk=endpoint.pk, **{name: stored}).update(**changed)
