"""A thread that stores events in dj-stripe's tables after they were handled, so that no webhook waits for that."""

import logging
import threading
import time

from django.db import connection

from .djstripe import store_waiting_events

logger = logging.getLogger(__name__)

QUIET = 0.25  # seconds without an event before events are stored, because a burst needs the processor itself
LONGEST = 30.0  # seconds after which they are stored even if events go on coming
AFTER_ERROR = 10.0  # seconds
PAUSE = 600.0  # seconds before an event for which a receiver raised an error is tried again


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
