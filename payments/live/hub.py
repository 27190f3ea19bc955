"""One hub per process: who listens to which feed here, and what keeps them current and entitled.

A hint, from this process or another, wakes a feed's pump at once. The database is asked every TAIL seconds whether
one went missing, with one query for all feeds that have sockets here.
"""

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Coroutine
from typing import Any

from django.conf import settings

from .. import metrics
from ..models import FeedEntry
from . import hints, socket_sessions
from .batch_loader import BatchLoader
from .fanout import Listeners
from .feeds import BEAT, heads_of
from .probe import AUDIENCE, Probe
from .rendering import rendered
from .sockets import Socket
from .threads import in_thread

logger = logging.getLogger(__name__)

TAIL = 2.0  # seconds between two looks at the feeds' heads
RECHECK = 4.0  # seconds between two checks that all sockets' holders may still hold them
PER_USER = 20  # sockets of one user in a process; the oldest makes room
TOO_MANY = 4409  # close code

_hubs: dict[asyncio.AbstractEventLoop, "Hub"] = {}


def hub() -> "Hub":
    """The running event loop's hub; a server process has one loop."""
    loop = asyncio.get_running_loop()
    if loop not in _hubs:
        _hubs[loop] = Hub(loop)
    return _hubs[loop]


def running() -> "list[Hub]":
    """This process's hubs that have sockets, to look at from any thread."""
    return [each for each in list(_hubs.values()) if each.sockets()]


class Hub:
    """Runs from the first socket to the last.

    `tailed_at`: when the database last answered (monotonic seconds); `lag`: seconds by which the loop woke late.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._feeds: dict[str, Listeners] = {}
        self._of_user: defaultdict[int, dict[Socket, None]] = defaultdict(dict)  # in the order of arrival
        self._tasks: set[asyncio.Task[None]] = set()
        self._ear: hints.Ear | None = None
        self.probe: Probe | None = None
        self.lag = self.tailed_at = 0.0
        self._holders = BatchLoader(socket_sessions.identify)

    async def holder_of(self, session_key: str) -> socket_sessions.Holder | None:
        """Whom a session cookie speaks for: one question for all pages that come at the same time."""
        return await self._holders.load(session_key)

    async def join(self, socket: Socket, after: int | None) -> None:
        """Tell the socket all after this number, then hello, then whatever comes. None: from now on."""
        feed = self._feeds.setdefault(socket.holder.audience, Listeners(socket.holder.audience))
        feed.add(socket)  # first join, then read: nothing falls between the two
        self._make_room(socket)
        self._start()
        socket.seq = -1 if after is None else after
        await feed.catch_up(socket)
        if feed.behind:
            self._spawn(feed.pump())

    def leave(self, socket: Socket) -> None:
        audience, user_id = socket.holder.audience, socket.holder.user_id
        socket.live, socket.closed = False, True
        if feed := self._feeds.get(audience):
            feed.sockets.discard(socket)
            if not feed.sockets:
                del self._feeds[audience]
                self._listen_elsewhere()
        self._of_user[user_id].pop(socket, None)
        if not self._of_user[user_id]:
            del self._of_user[user_id]
        if not self._of_user:
            self._stop()

    def sockets(self) -> list[Socket]:
        return [socket for feed in list(self._feeds.values()) for socket in list(feed.sockets)]

    @property
    def deaf(self) -> bool:
        """Whether the channel layer no longer brings other processes' hints; pages are then told by the tail alone."""
        return self._ear is not None and self._ear.deaf

    def prove(self, socket: Socket) -> None:
        """Answer a page that asks whether its socket lives; not while the database is silent, which proves nothing."""
        if time.monotonic() - self.tailed_at < BEAT:
            socket.write(self._feeds[socket.holder.audience].heartbeat())

    def hear(self, audience: str, seq: int, entry: FeedEntry | None = None) -> None:
        """A hint, from any thread; with the entry when this process made it, to be rendered in this thread."""
        if (feed := self._feeds.get(audience)) is None:
            return
        try:
            if entry:
                for language in feed.languages:
                    rendered(entry, language)
        except Exception:
            logger.exception("live_rendering_failed")  # the other processes are told all the same
        self._loop.call_soon_threadsafe(self._wake, audience, seq, entry)

    def _wake(self, audience: str, seq: int, entry: FeedEntry | None = None) -> None:
        feed = self._feeds.get(audience)
        if feed and feed.moved(seq, metrics.PUSH, entry):
            self._spawn(feed.pump())

    async def _run(self) -> None:
        """Tail, recheck and beat. Without a fresh answer of the database there is no beat: it would prove nothing."""
        beat_due, check_due = time.monotonic() + BEAT, time.monotonic() + RECHECK
        while True:
            due = time.monotonic() + TAIL
            await asyncio.sleep(TAIL)
            self.lag = max(0.0, time.monotonic() - due)
            try:
                await self._tail()
                self.tailed_at = time.monotonic()
                if time.monotonic() >= check_due:
                    check_due = time.monotonic() + RECHECK
                    await self._recheck()
                if time.monotonic() >= beat_due:
                    beat_due = time.monotonic() + BEAT - TAIL / 2
                    for feed in list(self._feeds.values()):
                        await feed.beat()
            except Exception:
                logger.exception("live_tail_failed")

    async def _tail(self) -> None:
        heads = await in_thread(heads_of, list(self._feeds))
        for audience, feed in self._feeds.items():
            if feed.sent is not None and feed.moved(heads.get(audience, 0), metrics.TAIL):
                metrics.FEEDS_FOUND_LATE.inc()
            if feed.behind:
                self._spawn(feed.pump())

    async def _recheck(self) -> None:
        sockets = self.sockets()
        ended = await in_thread(socket_sessions.lapsed, [socket.holder for socket in sockets])
        for socket in sockets:
            if code := ended.get(socket.holder):
                metrics.SOCKETS_CLOSED.labels(str(code)).inc()
                socket.close(code)
                self.leave(socket)

    def _make_room(self, socket: Socket) -> None:
        held = self._of_user[socket.holder.user_id]
        held[socket] = None
        if len(held) > PER_USER:
            oldest = next(iter(held))
            oldest.close(TOO_MANY)
            self.leave(oldest)

    def _start(self) -> None:
        if not self._tasks:
            self.lag, self.tailed_at = 0.0, time.monotonic()
            hints.local.add(self.hear)
            self._spawn(self._run())
            if settings.PROBE_SECONDS:
                self._feeds[AUDIENCE] = self.probe = Probe()
                self._spawn(self.probe.run())
            if (layer := hints.shared_layer()) is not None:
                self._ear = hints.Ear(layer, self._wake, self._feeds.keys)
                self._spawn(self._ear.run())
        self._listen_elsewhere()

    def _listen_elsewhere(self) -> None:
        if self._ear:
            self._ear.changed.set()

    def _stop(self) -> None:
        hints.local.discard(self.hear)
        for task in self._tasks:
            task.cancel()
        self._tasks, self._ear, self.probe = set(), None, None
        self._feeds.clear()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            logger.error("live_task_failed", exc_info=error, extra={"error": type(error).__name__})
