"""Measures live delivery even when no payment changes, so that a fault is noticed before the next real change.

Each process regularly advances the number of a feed that no page reads, and measures how many seconds later its hub
learns of the new number, and by which path: by a hint, or only by the tail (see hub.py).
"""

import asyncio
import logging
import time

from django.conf import settings
from django.db import transaction

from .. import metrics
from ..models import Feed
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
            await asyncio.sleep(settings.PROBE_SECONDS)
            try:
                await self.send()
            except Exception:
                logger.exception("live_probe_failed")

    async def send(self) -> None:
        """Add one to the number of the probe's feed in the database, and send a hint (message) with the new number."""
        self._sent = seq, _ = await in_thread(write)
        self._publish(seq)

    def _publish(self, seq: int) -> None:
        """Send a hint (a message that the probe's feed has reached number `seq`) through the channel layer, to test it.

        If the channel layer doesn't reach other processes, call this process's hubs directly instead.
        """
        if hints.shared_layer() is not None:
            hints.publisher.put({AUDIENCE: seq})
            return
        for on_hint in list(hints.local_hubs):
            on_hint(AUDIENCE, seq)

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


def write() -> tuple[int, float]:
    """Add one to the number of the probe's feed, which no page reads; return it and its commit's `time.monotonic()`."""
    with transaction.atomic():
        feed, _ = Feed.objects.select_for_update().get_or_create(audience=AUDIENCE)
        feed.head = feed.pruned = feed.head + 1  # the number has no entry, so it is marked as deleted
        feed.save(update_fields=["head", "pruned"])
    return feed.head, time.monotonic()
