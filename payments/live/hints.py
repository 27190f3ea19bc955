"""Hints between processes: "this feed has reached that number". Numbers only, and only to be faster.

Nothing depends on them: every process also asks the database what it has missed (see hub.py).
"""

import asyncio
import atexit
import logging
import threading
import time
from collections.abc import Callable, Iterable, Set
from typing import Any

from channels.layers import InMemoryChannelLayer, get_channel_layer

from .. import metrics
from ..models import FeedEntry

logger = logging.getLogger(__name__)

BOUND = 1.0  # seconds that any call to the channel layer may take
PROBE = 2.0  # seconds between two checks that the layer still reaches us
DEAF = 3 * PROBE + BOUND  # seconds without hearing our own probe: subscribe anew

local: set[Callable[..., None]] = set()  # this process's hubs: told (audience, number) and the entry, if at hand


def group_name(audience: str) -> str:
    """The channel layer's group of a feed. Audiences come from sessions, never from a URL."""
    return f"payments.feed.{audience}"


def shared_layer() -> Any | None:
    """The channel layer, if it reaches other processes: our own hub needs none."""
    layer = get_channel_layer()
    return None if isinstance(layer, InMemoryChannelLayer) else layer


def publish(entries: Iterable[FeedEntry]) -> None:
    """Tell this process's hub at once, and the others from a thread of its own. Never waits, never raises."""
    newest = {entry.feed.audience: entry for entry in entries}
    for told in list(local):
        for audience, entry in newest.items():
            told(audience, entry.seq, entry)
    if shared_layer() is not None:
        publisher.put({audience: entry.seq for audience, entry in newest.items()})


class Publisher:
    """One daemon thread with one event loop. Only a feed's newest number waits, so a dead layer piles nothing up."""

    def __init__(self) -> None:
        self._newest: dict[str, int] = {}
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._working = True

    def put(self, newest: dict[str, int]) -> None:
        with self._changed:
            for audience, seq in newest.items():
                self._newest[audience] = max(seq, self._newest.get(audience, 0))
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._work, name="live-hints", daemon=True)
                self._thread.start()
                atexit.register(self.flush)
            self._changed.notify_all()

    def flush(self, seconds: float = BOUND) -> None:
        """Wait until all is sent, so that a command's last hints go out before it ends."""
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

    async def _send(self, newest: dict[str, int]) -> None:
        layer = shared_layer()
        try:
            async with asyncio.timeout(BOUND):
                for audience, seq in newest.items():
                    message = {"type": "feed.moved", "audience": audience, "seq": seq}
                    await layer.group_send(group_name(audience), message)  # type: ignore[union-attr]
        except Exception as error:  # noqa: BLE001 whatever a layer's library raises
            metrics.LAYER_ERRORS.inc()
            logger.warning("live_hint_not_sent", extra={"error": type(error).__name__})


publisher = Publisher()


class Ear:
    """This process's one subscription per feed. It heals itself; what it misses meanwhile, the database tells."""

    def __init__(self, layer: Any, told: Callable[[str, int], None], wanted: Callable[[], Set[str]]) -> None:
        self.layer, self.told, self.wanted = layer, told, wanted
        self.changed = asyncio.Event()  # set it when `wanted` has changed
        self._channel = ""
        self._groups: set[str] = set()
        self._heard = 0.0
        self._listening: asyncio.Task[None] | None = None

    @property
    def deaf(self) -> bool:
        return time.monotonic() - self._heard > DEAF

    async def run(self) -> None:
        try:
            while True:
                try:
                    async with asyncio.timeout(BOUND):
                        await self._attend()
                except Exception as error:  # noqa: BLE001 whatever a layer's library raises
                    metrics.LAYER_ERRORS.inc()
                    logger.warning("live_layer_unreachable", extra={"error": type(error).__name__})
                if self.deaf:
                    await self._forget()
                await self._next_turn()
        finally:
            await self._forget()

    async def _attend(self) -> None:
        """Listen, and send ourselves a probe: not to hear it is the only sign of a layer that has gone deaf."""
        if not self._channel:
            self._channel = await self.layer.new_channel()
            self._heard = time.monotonic()
        if self._listening is None or self._listening.done():
            self._listening = asyncio.create_task(self._listen())
        await self._subscribe()
        await self.layer.send(self._channel, {"type": "probe"})

    async def _next_turn(self) -> None:
        """Not with wait_for: Python 3.11's forgets a cancellation that comes together with what it waits for."""
        try:
            async with asyncio.timeout(PROBE):
                await self.changed.wait()
        except TimeoutError:
            return
        self.changed.clear()

    async def _subscribe(self) -> None:
        wanted = {group_name(audience) for audience in self.wanted()}
        for group in wanted - self._groups:
            await self.layer.group_add(group, self._channel)
            self._groups.add(group)
        for group in self._groups - wanted:
            await self.layer.group_discard(group, self._channel)
            self._groups.discard(group)

    async def _listen(self) -> None:
        while True:
            message = await self.layer.receive(self._channel)
            self._heard = time.monotonic()
            if message["type"] == "feed.moved":
                self.told(message["audience"], message["seq"])

    async def _forget(self) -> None:
        """Close all that the layer holds in this event loop, and begin anew at the next turn."""
        if self._listening is not None:
            self._listening.cancel()
            await asyncio.wait([self._listening], timeout=BOUND)
        try:
            async with asyncio.timeout(BOUND):
                await self.layer.flush()
        except Exception as error:  # noqa: BLE001 whatever a layer's library raises
            logger.warning("live_layer_unreachable", extra={"error": type(error).__name__})
        self._listening, self._channel, self._groups = None, "", set()
