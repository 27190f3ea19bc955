"""Stores events in dj-stripe's tables after they were handled, so that no webhook waits for that."""

import datetime
import logging
import threading
import time
from collections.abc import Collection, Mapping

from django.db import connection, transaction
from django.utils import timezone
from djstripe import signals
from djstripe.models import Event, WebhookEventTrigger

from ..db.statements import insert, run, update
from ..models import EventReceipt

logger = logging.getLogger(__name__)

QUIET = 0.25  # seconds without an event before events are stored, because a burst needs the processor itself
LONGEST = 30.0  # seconds after which they are stored even if events go on coming
AFTER_ERROR = 10.0  # seconds
BATCH = 500  # events that are stored in one transaction
NEAR = datetime.timedelta(minutes=1)  # an event's first delivery is stored this close to its EventReceipt row
PAUSE = 600.0  # seconds before an event for which a receiver raised an error is tried again


def store_waiting_events(*, without: Collection[int] = ()) -> tuple[int, list[int]]:
    """Make dj-stripe's Event rows of events that were handled, from the stored deliveries, and call the receivers.

    At most BATCH events are dealt with, the oldest first. Return how many were stored, and the keys of the EventReceipt
    rows for which a receiver raised an error; they stay waiting. Receipts with keys in `without` are left out. Several
    processes may call this at once: while one is at work, the others return (0, []).
    """
    with transaction.atomic():
        waiting = EventReceipt.objects.unstored().exclude(pk__in=without).order_by("pk")
        receipts = {receipt.stripe_event_id: receipt for receipt in (waiting[:BATCH] if _is_alone() else ())}
        if not receipts:
            return 0, []
        bodies = _bodies_of(receipts)
        stored = set(Event.objects.filter(id__among=list(receipts)).values_list("id", flat=True))
        rows = [_event_row(delivery) for event_id, delivery in bodies.items() if event_id not in stored]
        heard = [row for row in rows if _has_receivers(row)]
        run(insert(row for row in rows if row not in heard))
        failed = {row.id for row in heard if not _tell_receivers(row)}
        done = [receipt for event_id, receipt in receipts.items() if event_id not in failed]
        linked = {event_id: delivery for event_id, delivery in bodies.items() if event_id not in failed}
        for event_id, delivery in linked.items():
            delivery.event_id = event_id
        run(update(linked.values(), ("event",)))
        for event_id in receipts.keys() - bodies.keys() - stored:
            logger.warning("djstripe_event_without_body", extra={"stripe_event_id": event_id})
        EventReceipt.objects.filter(pk__among=[row.pk for row in done]).update(event_stored_at=timezone.now())
    return len(done), [receipts[event_id].pk for event_id in failed]


def _is_alone() -> bool:
    """Return whether no other process stores events until this transaction ends. SQLite has one writer anyway."""
    if connection.vendor != "postgresql":
        return True
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(hashtextextended('djstripe_event', 2))")
        return bool(cursor.fetchone()[0])


def _bodies_of(receipts: Mapping[str, EventReceipt]) -> dict[str, WebhookEventTrigger]:
    """Return, for each of these receipts by event id, the stored delivery whose body is the event, if there is one."""
    times = sorted(receipt.received_at for receipt in receipts.values())
    kept = WebhookEventTrigger.objects.filter(event=None, created__range=(times[0] - NEAR, times[-1] + NEAR))
    found = {}
    for delivery in kept:
        event = delivery.json_body
        if isinstance(event, dict) and event.get("id") in receipts:
            found[event["id"]] = delivery
    return found


def _event_row(delivery: WebhookEventTrigger) -> Event:
    """Return dj-stripe's row, not yet stored, for the event in a delivery.

    dj-stripe's `Event.process` isn't used, because it runs nine statements and, after an API key was rotated, calls
    Stripe's API to learn whose key it is.
    """
    event = delivery.json_body
    request = event.get("request")
    request = request if isinstance(request, Mapping) else {"id": request}
    return Event(
        id=event["id"],
        type=event["type"],
        livemode=event["livemode"],
        created=datetime.datetime.fromtimestamp(event["created"], datetime.UTC),
        api_version=event.get("api_version") or "",
        request_id=str(request.get("id") or "")[:50],
        idempotency_key=str(request.get("idempotency_key") or ""),
        data=event["data"],
        stripe_data=dict(event),
        djstripe_owner_account_id=delivery.stripe_trigger_account_id,
    )


def _has_receivers(row: Event) -> bool:
    signal = signals.WEBHOOK_SIGNALS.get(row.type)
    return bool(signal and signal.has_listeners(Event))


def _tell_receivers(row: Event) -> bool:
    """Insert dj-stripe's Event row and call the receivers registered for its type.

    If a receiver raises an error, insert nothing and return False.
    """
    try:
        with transaction.atomic():
            row.save(force_insert=True)
            row.invoke_webhook_handlers()
    except Exception:
        logger.exception("djstripe_event_not_stored", extra={"stripe_event_id": row.id})
        return False
    return True


class EventWriter:
    """Stores handled events in dj-stripe's tables from a daemon thread, which starts when the first event is handled.

    What this process leaves undone, `manage.py mirror` does. `waiting_since` is when the oldest event came that the
    thread hasn't looked at (`time.monotonic()`), or None.
    """

    def __init__(self) -> None:
        self.waiting_since: float | None = None
        self._last_event = 0.0
        self._again_at: dict[int, float] = {}
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def wake(self) -> None:
        """Have handled events stored soon, and start the thread unless it is running."""
        with self._changed:
            self._last_event = time.monotonic()
            self.waiting_since = self.waiting_since or self._last_event
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._work, name="djstripe-events", daemon=True)
                self._thread.start()
            self._changed.notify()

    @property
    def behind(self) -> float:
        """Return for how many seconds events of this process have waited to be stored: the thread's heartbeat."""
        since = self.waiting_since
        return time.monotonic() - since if since else 0.0

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self.waiting_since is not None)
                started = self.waiting_since or 0.0
            while time.monotonic() < min(self._last_event + QUIET, started + LONGEST):
                time.sleep(QUIET / 5)
            seen = self._last_event
            try:
                self.store()
            except Exception:
                logger.exception("djstripe_events_not_stored")
                time.sleep(AFTER_ERROR)
                continue
            finally:
                connection.close()
            with self._changed:
                self.waiting_since = None if self._last_event == seen else seen

    def store(self) -> int:
        """Store all events that wait, except those that failed within PAUSE seconds; return how many were stored."""
        total, now = 0, time.monotonic()
        self._again_at = {key: at for key, at in self._again_at.items() if at > now}
        while True:
            stored, failed = store_waiting_events(without=self._again_at)
            self._again_at |= dict.fromkeys(failed, now + PAUSE)
            total += stored
            if not stored and not failed:
                return total


writer = EventWriter()
