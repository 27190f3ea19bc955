"""A round trip of each process's own: a number is written to a feed without readers until its hub hears of it.

Where changes are rare, this tells that the next one would arrive, how soon, and by which path.
"""

import asyncio
import logging
import time

from django.conf import settings
from django.db import transaction

from .. import metrics
from ..models import Feed
from . import hints
from .fanout import Listeners
from .threads import in_thread

logger = logging.getLogger(__name__)

AUDIENCE = "probe"  # one feed for all processes, of which each waits for the number that it wrote


class Probe(Listeners):
    """A feed of the hub's without sockets. `returned_at`: when the last number was heard of (monotonic seconds)."""

    def __init__(self) -> None:
        super().__init__(AUDIENCE)
        self.returned_at = time.monotonic()
        self._committed_at: float | None = None

    async def run(self) -> None:
        while True:
            await asyncio.sleep(settings.PROBE_SECONDS)
            try:
                await self.send()
            except Exception:
                logger.exception("live_probe_failed")

    async def send(self) -> None:
        seq, self._committed_at = await in_thread(write)
        self.sent = self.head = seq - 1  # whoever was quicker than this thread is to be heard again
        self._hint(seq)

    def _hint(self, seq: int) -> None:
        """As hints.publish, but with a shared layer not straight to ourselves: it is the layer that is tried."""
        if hints.shared_layer() is not None:
            hints.publisher.put({AUDIENCE: seq})
            return
        for told in list(hints.local):
            told(AUDIENCE, seq)

    async def pump(self) -> None:
        """The hub knows of a newer number."""
        self.sent = self.head
        if self._committed_at is not None:
            self.returned_at = time.monotonic()
            metrics.PROBE_SECONDS.labels(self.path).observe(self.returned_at - self._committed_at)
            self._committed_at = None


def write() -> tuple[int, float]:
    """The next number, and when it was committed (monotonic seconds)."""
    with transaction.atomic():
        feed, _ = Feed.objects.select_for_update().get_or_create(audience=AUDIENCE)
        feed.head = feed.pruned = feed.head + 1  # no entry stands behind it, as if it had been pruned
        feed.save(update_fields=["head", "pruned"])
    return feed.head, time.monotonic()
