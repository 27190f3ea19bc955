"""Measures live delivery where changes are rare: each process writes a number and times how soon its hub learns of it.

The number is that of a feed which nobody reads. It shows that the next change would arrive, how soon, and whether by a
hint or only by the tail.
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

AUDIENCE = "probe"  # one feed for all processes; each waits for the number that it wrote itself


class Probe:
    """Sends probes for one hub, which calls `heard`. `returned_at`: when the last came back, in monotonic seconds."""

    def __init__(self) -> None:
        self.returned_at = time.monotonic()
        self._sent: tuple[int, float] | None = None  # number and time of commit of the probe that is on its way

    async def run(self) -> None:
        """Send a probe every PROBE_SECONDS, for ever."""
        while True:
            await asyncio.sleep(settings.PROBE_SECONDS)
            try:
                await self.send()
            except Exception:
                logger.exception("live_probe_failed")

    async def send(self) -> None:
        """Write the feed's next number and publish the hint about it."""
        self._sent = seq, _ = await in_thread(write)
        self._publish(seq)

    def _publish(self, seq: int) -> None:
        """Publish a hint as `hints.publish` does; if there is a shared layer, through it alone, to test it."""
        if hints.shared_layer() is not None:
            hints.publisher.put({AUDIENCE: seq})
            return
        for on_hint in list(hints.local_hubs):
            on_hint(AUDIENCE, seq)

    def heard(self, seq: int, path: str) -> bool:
        """Note that the hub knows of number `seq` by this path. Return whether the probe on its way has come back."""
        if self._sent is None or seq < self._sent[0]:
            return False
        self.returned_at = time.monotonic()
        metrics.PROBE_SECONDS.labels(path).observe(self.returned_at - self._sent[1])
        self._sent = None
        return True


def write() -> tuple[int, float]:
    """Advance the feed by one. Return the new number, and when it was committed in monotonic seconds."""
    with transaction.atomic():
        feed, _ = Feed.objects.select_for_update().get_or_create(audience=AUDIENCE)
        feed.head = feed.pruned = feed.head + 1  # it has no entry, so it must look pruned
        feed.save(update_fields=["head", "pruned"])
    return feed.head, time.monotonic()
