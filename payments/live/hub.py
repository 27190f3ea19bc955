"""The hub: all sockets of one process, kept current and closed when their session ends.

A hint, from this process or another, makes a feed's fan-out write at once. Every TAIL seconds one query for all feeds
that have sockets here finds what no hint announced.
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
from . import hints, probe
from .batch_loader import BatchLoader
from .fanout import Fanout
from .feeds import heads_of
from .rendering import render_entry
from .socket_sessions import SocketSession, ended_sessions, load_sessions
from .sockets import Socket
from .threads import in_thread
from .timing import BEAT

logger = logging.getLogger(__name__)

TAIL = 2.0  # seconds between two queries for the feeds' newest numbers
RECHECK = 4.0  # seconds between two checks of all sockets' sessions
PER_USER = 20  # sockets of one user in a process; one more closes the oldest
TOO_MANY = 4409  # close code

_hubs: dict[asyncio.AbstractEventLoop, "Hub"] = {}


def hub() -> "Hub":
    """Return the running event loop's hub; a server process has one loop."""
    loop = asyncio.get_running_loop()
    if loop not in _hubs:
        _hubs[loop] = Hub(loop)
    return _hubs[loop]


def running() -> "list[Hub]":
    """Return this process's hubs that have sockets. Any thread may look at them."""
    return [each for each in list(_hubs.values()) if each.sockets()]


class Hub:
    """The sockets of one event loop. Its tasks run from the first socket's arrival until the last has left.

    `tailed_at` is when the database last answered (monotonic seconds), `lag` by how many seconds the loop woke late.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._feeds: dict[str, Fanout] = {}
        self._of_user: defaultdict[int, dict[Socket, None]] = defaultdict(dict)  # in the order of arrival
        self._tasks: set[asyncio.Task[None]] = set()
        self._subscriber: hints.Subscriber | None = None
        self.probe: probe.Probe | None = None
        self.lag = self.tailed_at = 0.0
        self._sessions = BatchLoader(load_sessions)

    async def session_of(self, session_key: str) -> SocketSession | None:
        """Return the session that a cookie belongs to, or None. Pages that come together share a query."""
        return await self._sessions.load(session_key)

    async def join(self, socket: Socket, after: int | None) -> None:
        """Write to the socket all entries after number `after`, then "hello", then whatever comes.

        None means from now on.
        """
        feed = self._feeds.setdefault(socket.session.audience, Fanout(socket.session.audience))
        feed.add(socket)  # before the query, so that no entry falls between the two
        self._make_room(socket)
        self._start()
        socket.seq = -1 if after is None else after
        await feed.catch_up(socket)
        if feed.behind:
            self._spawn(feed.pump())

    def leave(self, socket: Socket) -> None:
        """Forget a socket; calling it twice does no harm."""
        audience, user_id = socket.session.audience, socket.session.user_id
        socket.live, socket.closed = False, True
        if feed := self._feeds.get(audience):
            feed.sockets.discard(socket)
            if not feed.sockets:
                del self._feeds[audience]
                self._update_subscription()
        self._of_user[user_id].pop(socket, None)
        if not self._of_user[user_id]:
            del self._of_user[user_id]
        if not self._of_user:
            self._stop()

    def sockets(self) -> list[Socket]:
        """Return all sockets of this hub."""
        return [socket for feed in list(self._feeds.values()) for socket in list(feed.sockets)]

    @property
    def deaf(self) -> bool:
        """Whether the channel layer brings no hints of other processes, so that only the tail finds their changes."""
        return self._subscriber is not None and self._subscriber.deaf

    def answer_ping(self, socket: Socket) -> None:
        """Write a heartbeat to a socket whose page checks it, unless the database is silent: it would prove nothing."""
        if time.monotonic() - self.tailed_at < BEAT:
            socket.write(self._feeds[socket.session.audience].heartbeat())

    def on_hint(self, audience: str, seq: int, entry: FeedEntry | None = None) -> None:
        """Take a hint from any thread. `entry` is given if this process committed it; it is rendered in this thread."""
        feed = self._feeds.get(audience)
        if feed is None and audience != probe.AUDIENCE:
            return
        try:
            if entry and feed:
                for language in feed.languages:
                    render_entry(entry, language)
        except Exception:
            logger.exception("live_rendering_failed")  # the other processes must get their hint all the same
        self._loop.call_soon_threadsafe(self._advance, audience, seq, entry)

    def _audiences(self) -> set[str]:
        """Return the feeds whose newest numbers this hub wants to know: those with sockets, and the probe's."""
        return {*self._feeds, *([probe.AUDIENCE] if self.probe else [])}

    def _advance(self, audience: str, seq: int, entry: FeedEntry | None = None) -> None:
        if self.probe and audience == probe.AUDIENCE:
            self.probe.heard(seq, metrics.PUSH)
        feed = self._feeds.get(audience)
        if feed and feed.advance(seq, metrics.PUSH, entry):
            self._spawn(feed.pump())

    async def _run(self) -> None:
        """Tail, recheck and beat. There is no beat without a fresh answer of the database: it would prove nothing."""
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
        """Query the feeds' newest numbers, and write what no hint announced."""
        heads = await in_thread(heads_of, list(self._audiences()))
        if self.probe and self.probe.heard(heads.get(probe.AUDIENCE, 0), metrics.TAIL):
            metrics.FEEDS_FOUND_LATE.inc()
        for audience, feed in self._feeds.items():
            if feed.sent is not None and feed.advance(heads.get(audience, 0), metrics.TAIL):
                metrics.FEEDS_FOUND_LATE.inc()
            if feed.behind:
                self._spawn(feed.pump())

    async def _recheck(self) -> None:
        """Close the sockets whose session has ended or lost its right."""
        sockets = self.sockets()
        ended = await in_thread(ended_sessions, [socket.session for socket in sockets])
        for socket in sockets:
            if code := ended.get(socket.session):
                metrics.SOCKETS_CLOSED.labels(str(code)).inc()
                socket.close(code)
                self.leave(socket)

    def _make_room(self, socket: Socket) -> None:
        """Count a user's new socket, and close the oldest if there are more than PER_USER."""
        sockets = self._of_user[socket.session.user_id]
        sockets[socket] = None
        if len(sockets) > PER_USER:
            oldest = next(iter(sockets))
            oldest.close(TOO_MANY)
            self.leave(oldest)

    def _start(self) -> None:
        """Start the hub's tasks, unless they run, and subscribe to the feeds that have sockets now."""
        if not self._tasks:
            self.lag, self.tailed_at = 0.0, time.monotonic()
            hints.local_hubs.add(self.on_hint)
            self._spawn(self._run())
            if settings.PROBE_SECONDS:
                self.probe = probe.Probe()
                self._spawn(self.probe.run())
            if (layer := hints.shared_layer()) is not None:
                self._subscriber = hints.Subscriber(layer, self._advance, self._audiences)
                self._spawn(self._subscriber.run())
        self._update_subscription()

    def _update_subscription(self) -> None:
        if self._subscriber:
            self._subscriber.changed.set()

    def _stop(self) -> None:
        hints.local_hubs.discard(self.on_hint)
        if self._subscriber:
            self._subscriber.stop()
        for task in self._tasks:
            task.cancel()
        self._tasks, self._subscriber, self.probe = set(), None, None
        self._feeds.clear()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._on_done)

    def _on_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            logger.error("live_task_failed", exc_info=error, extra={"error": type(error).__name__})
