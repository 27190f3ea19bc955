"""Measures live delivery even when no payment changes, so that a fault is noticed before the next real change.

Each process regularly advances the number of a feed that no page reads, and measures how many seconds later its hub
learns of the new number, and by which path: by a hint, or only by the tail (see hub.py).
"""

import asyncio
import logging
import time

from django.db import transaction

from .. import metrics
from ..conf import app_settings
from ..models import Feed
from ..models.feed import Position
from . import hints
from .threads import in_thread

logger = logging.getLogger(__name__)

AUDIENCE = "probe"  # all processes share this feed; each waits for the number that it wrote itself


class Probe:
    """Sends delivery probes for one hub. The hub calls `heard` with each number of the probe's feed that it learns of.

    `returned_at` is when the last probe came back, or when this object was made if none has (`time.monotonic()`).
    """

    def __init__(self) -> None:
        self.returned_at = time.monotonic()
        self._sent: tuple[int, float] | None = None  # number and time of commit of the probe that is on its way

    async def run(self) -> None:
        """Send a probe every PROBE_SECONDS until the task is cancelled."""
        while True:
            await asyncio.sleep(app_settings.CLINIC_PROBE_SECONDS)
            try:
                await self.send()
            except Exception:
                logger.exception("live_probe_failed")

    async def send(self) -> None:
        """Send a probe: advance the number of the probe's feed in the database, and tell all processes (a hint)."""
        at, committed = await in_thread(write)
        self._sent = at.seq, committed
        self._publish(at)

    def _publish(self, at: Position) -> None:
        """Tell all processes that the probe's feed has reached the position `at`, through the shared channel layer.

        Without a shared channel layer, call this process's hubs directly instead.
        """
        if hints.shared_layer() is not None:
            hints.publisher.put({AUDIENCE: at})
            return
        for on_hint in list(hints.local_hubs):
            on_hint(AUDIENCE, at)

    def heard(self, seq: int, path: str) -> bool:
        """Note that the hub has learned of number `seq`; return whether the pending probe has thereby come back.

        `path` says how the hub learned it: metrics.PUSH (by a hint) or metrics.TAIL (by its regular query).
        """
        if self._sent is None or seq < self._sent[0]:
            return False
        self.returned_at = time.monotonic()
        metrics.PROBE_SECONDS.labels(path).observe(self.returned_at - self._sent[1])
        self._sent = None
        return True


def write() -> tuple[Position, float]:
    """Advance by one the number of the probe's feed, which only tests live delivery.

    Return the new position and when it was committed (`time.monotonic()`).
    """
    with transaction.atomic():
        feed, _ = Feed.objects.select_for_update().get_or_create(audience=AUDIENCE)
        feed.head = feed.pruned = feed.head + 1  # the number has no entry, so it is marked as deleted
        feed.save(update_fields=["head", "pruned"])
    return feed.position, time.monotonic()
