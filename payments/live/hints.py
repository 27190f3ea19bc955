"""Sends and receives hints: messages between processes that say that a feed (list of changes) has new entries.

A hint holds the feed's epoch and the number of its newest entry. A lost hint only delays an entry, because every
process also queries the database for what it has missed (see hub.py).
"""

import asyncio
import atexit
import logging
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

from channels.layers import InMemoryChannelLayer, get_channel_layer

from .. import metrics
from ..models import FeedEntry
from ..models.feed import Position

logger = logging.getLogger(__name__)

BOUND = 1.0  # seconds that any call to the channel layer may take
CHECK = 2.0  # seconds between two checks that the layer's messages still reach this process
DEAF = 3 * CHECK + BOUND  # seconds without any message after which we subscribe again
SEVERAL = 200  # entries
PAUSE = 0.025  # seconds between two hints of a process; changes made meanwhile share one, because hints are costly
GROUP = "payments.feeds"  # the channel-layer group that gets the hints about all feeds

local_hubs: set[Callable[..., None]] = set()  # hubs' `on_hint`, called with audience, position and maybe the entry


def shared_layer() -> Any | None:
    """Return the channel layer if it reaches other processes, else None.

    For hints (messages about new changes) within one process, no channel layer is needed, because `publish` calls the
    hub directly.
    """
    layer = get_channel_layer()
    return None if isinstance(layer, InMemoryChannelLayer) else layer


def publish(entries: Iterable[FeedEntry]) -> None:
    """Tell all processes that feeds (lists of changes) have new `entries`, which must be committed.

    This process's hub is called directly; a background thread sends messages (hints) to the other processes. This
    function never waits for the channel layer, and never raises. If there are more than SEVERAL entries, the hub gets
    only their feeds' newest numbers, and loads the entries that its pages still need.
    """
    newest: dict[str, Position] = {}
    entries = list(entries)
    for entry in entries:
        newest[entry.feed.audience] = at = Position(entry.feed.epoch, entry.seq)
        for on_hint in list(local_hubs) if len(entries) <= SEVERAL else ():
            on_hint(entry.feed.audience, at, entry)
    if len(entries) > SEVERAL:
        for audience, at in newest.items():
            for on_hint in list(local_hubs):
                on_hint(audience, at)
    if shared_layer() is not None:
        publisher.put(newest)


class Publisher:
    """Sends hints to the channel layer from a daemon thread with its own event loop.

    A hint is the number of the newest entry in a feed (list of changes). Only the newest number of each feed is queued,
    so that the queue stays small while the channel layer is down, and the changes of a burst need few hints.
    """

    def __init__(self) -> None:
        self._newest: dict[str, Position] = {}
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._working = True

    def put(self, newest: dict[str, Position]) -> None:
        """Queue the newest position of each audience's feed, and start the thread unless it is running."""
        with self._changed:
            for audience, at in newest.items():
                queued = self._newest.get(audience, at)
                self._newest[audience] = max(at, queued) if at.epoch == queued.epoch else at
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._work, name="live-hints", daemon=True)
                self._thread.start()
                atexit.register(self.flush)
            self._changed.notify_all()

    def flush(self, seconds: float = BOUND) -> None:
        """Wait at most `seconds` until all hints (messages about new changes) are sent.

        Without this, a command's last hints could be lost when the command ends.
        """
        with self._changed:
            self._changed.wait_for(lambda: not self._newest and not self._working, seconds)

    def _work(self) -> None:
        with asyncio.Runner() as runner:
            while True:
                with self._changed:
                    self._working = False
                    self._changed.notify_all()
                    self._changed.wait_for(lambda: bool(self._newest))
                    newest, self._newest, self._working = self._newest, {}, True
                runner.run(self._send(newest))
                time.sleep(PAUSE)

    async def _send(self, newest: dict[str, Position]) -> None:
        layer = shared_layer()
        try:
            async with asyncio.timeout(BOUND):
                message = {"type": "feeds.moved", "newest": newest}
                await layer.group_send(GROUP, message)  # type: ignore[union-attr]
        except Exception as error:  # noqa: BLE001 a layer's library may raise anything
            metrics.LAYER_ERRORS.inc()
            logger.warning("live_hint_not_sent", extra={"error": type(error).__name__})


publisher = Publisher()


class Subscriber:
    """Receives from the channel layer the hints (new numbers of feeds) that other processes send.

    It calls `on_hint` with each hint's audience and position, and subscribes again after any failure. A process hears
    of all feeds, because most changes concern the staff's feed too, and a thousand pages that join would otherwise make
    a thousand subscriptions.
    """

    def __init__(self, layer: Any, on_hint: Callable[[str, Position], None]) -> None:
        self._layer, self._on_hint = layer, on_hint
        self._channel, self._subscribed = "", False
        self._heard = 0.0
        self._receiving: asyncio.Task[None] | None = None
        self._stopped = asyncio.Event()

    @property
    def deaf(self) -> bool:
        """Return whether no message has arrived for DEAF seconds, not even this process's own test messages."""
        return time.monotonic() - self._heard > DEAF

    async def run(self) -> None:
        """Keep the subscription alive until this task is cancelled or `stop` is called."""
        try:
            while not self._stopped.is_set():
                try:
                    async with asyncio.timeout(BOUND):
                        await self._keep_subscribed()
                except Exception as error:  # noqa: BLE001 a layer's library may raise anything
                    metrics.LAYER_ERRORS.inc()
                    logger.warning("live_layer_unreachable", extra={"error": type(error).__name__})
                if self.deaf:
                    await self._reset()
                await self._pause()
        finally:
            await self._reset()

    def stop(self) -> None:
        """Make `run` return soon, even if the cancellation of its task gets lost.

        The Redis client waits with `asyncio.wait_for`. In Python 3.11 this loses a cancellation that arrives together
        with the result.
        """
        self._stopped.set()

    async def _keep_subscribed(self) -> None:
        """Subscribe and start receiving if necessary, and send a test message to ourselves.

        If this message doesn't come back, the channel layer has stopped delivering. The layer can do so without raising
        an error.
        """
        if not self._channel:
            self._channel = await self._layer.new_channel()
            self._heard = time.monotonic()
        if self._receiving is None or self._receiving.done():
            self._receiving = asyncio.create_task(self._receive())
        if not self._subscribed:
            await self._layer.group_add(GROUP, self._channel)
            self._subscribed = True
        await self._layer.send(self._channel, {"type": "probe"})

    async def _pause(self) -> None:
        """Wait CHECK seconds, or until `stop` is called.

        `asyncio.wait_for` isn't used, because in Python 3.11 it loses a cancellation that arrives together with the
        result.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(CHECK):
                await self._stopped.wait()

    async def _receive(self) -> None:
        while True:
            message = await self._layer.receive(self._channel)
            self._heard = time.monotonic()
            if message["type"] == "feeds.moved":
                for audience, at in message["newest"].items():
                    self._on_hint(audience, Position(*at))

    async def _reset(self) -> None:
        """Stop receiving, close the layer's connections in this event loop, and forget the subscription.

        The loop in `run` then subscribes again.
        """
        if self._receiving is not None:
            self._receiving.cancel()
            await asyncio.wait([self._receiving], timeout=BOUND)
        try:
            async with asyncio.timeout(BOUND):
                await self._layer.flush()
        except Exception as error:  # noqa: BLE001 a layer's library may raise anything
            logger.warning("live_layer_unreachable", extra={"error": type(error).__name__})
        self._receiving, self._channel, self._subscribed = None, "", False
