"""Writes each feed's new entries to the WebSockets of this process, and closes sockets whose login session has ended.

Requests of other software may wait for a feed's next entry here, too.

A feed is the numbered list of changes that pages follow. A hint (a message, see hints.py) says that a feed has a new
entry, which the hub then writes at once. Hints can get lost, so the hub also queries the newest numbers of all its
feeds every TAIL seconds. This query is called the tail. It also tells whether somebody's access may have ended.
"""

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Coroutine, Iterable, Mapping
from datetime import UTC, datetime
from itertools import chain
from typing import Any

from django.utils import timezone

from .. import metrics
from ..conf import app_settings
from ..models import FeedEntry, StatusChange, patient_audience
from ..models.feed import STAFF, Position
from . import hints, probe
from .batch_loader import BatchLoader
from .fanout import Fanout
from .feeds import load_moved, load_positions
from .rendering import render_change
from .socket_sessions import SocketSession, ended_sessions, load_sessions
from .sockets import Socket
from .threads import in_thread
from .timing import BEAT
from .watch import Watch

logger = logging.getLogger(__name__)

TAIL = 2.0  # seconds between two queries for the feeds' newest numbers
CHECK_LEAST, CHECK_MOST = 4.0, 60.0  # seconds between two checks of all sockets' sessions
BEATS_AT_ONCE = 25  # heartbeats written between two pauses
PAUSE = 0.001  # seconds
PER_USER = 20  # sockets of one user in a process; one more closes the oldest
TOO_MANY = 4409  # close code
NEVER = datetime.max.replace(tzinfo=UTC)

_hubs: dict[asyncio.AbstractEventLoop, "Hub"] = {}


def hub() -> "Hub":
    """Return the running event loop's hub, and make it at first use. A server process has one event loop."""
    loop = asyncio.get_running_loop()
    if loop not in _hubs:
        _hubs[loop] = Hub(loop)
    return _hubs[loop]


def running() -> "list[Hub]":
    """Return this process's hubs that have open sockets or waiting requests. Any thread may call this function."""
    return [each for each in list(_hubs.values()) if each.in_use]


class Hub:
    """The open sockets and waiting requests of one event loop, and the tasks that serve them while there are any.

    `tailed_at` is when the tail, the regular query for new feed entries (changes), last succeeded (`time.monotonic()`).
    `lag` is how many seconds too late the event loop last woke the task of this query.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._feeds: dict[str, Fanout] = {}
        self._watches: dict[str, Watch] = {}  # by audience, while requests wait
        self._of_user: defaultdict[int, dict[Socket, None]] = defaultdict(dict)  # each user's sockets, oldest first
        self._tasks: set[asyncio.Task[None]] = set()
        self._subscriber: hints.Subscriber | None = None
        self.probe: probe.Probe | None = None
        self.reporting = asyncio.Lock()  # held while a page's report of what it shows is being stored
        self.lag = self.tailed_at = 0.0
        self._sessions, self._positions = BatchLoader(load_sessions), BatchLoader(load_positions)
        self._checked_at = 0.0  # when all sockets' sessions were last checked (`time.monotonic()`)
        self._access: int | None = None  # the access version at which they were valid, if it is one for all sockets
        self._expires = NEVER  # when the first of them expires

    async def session_of(self, session_key: str) -> SocketSession | None:
        """Return the valid login session with this key, or None. Concurrent calls share their queries."""
        return await self._sessions.load(session_key)

    async def join(self, socket: Socket, after: int | None, epoch: str | None) -> None:
        """Add a socket: write to it its feed's entries after number `after`, then "hello", then each new entry.

        `epoch` is the epoch to which the number `after` belongs. Without either, or if the feed can't be continued from
        there, the socket gets "hello" and new entries only.
        """
        audience = socket.session.audience
        feed = self._feeds.setdefault(audience, Fanout(audience, self._positions.load))
        feed.add(socket)  # before the query, so that an entry committed in between isn't missed
        self._make_room(socket)
        self._start()
        self._note_validity(socket.session)
        socket.seq, socket.epoch = -1 if after is None else after, epoch
        await feed.catch_up(socket)
        if feed.behind:
            self._spawn(feed.pump())

    def leave(self, socket: Socket) -> None:
        """Remove a socket from the hub, so that no more entries are written to it. A second call does nothing."""
        audience, user_id = socket.session.audience, socket.session.user_id
        socket.live, socket.closed = False, True
        if feed := self._feeds.get(audience):
            feed.sockets.discard(socket)
            if not feed.sockets:
                del self._feeds[audience]
        self._of_user[user_id].pop(socket, None)
        if not self._of_user[user_id]:
            del self._of_user[user_id]
        if not self.in_use:
            self._stop()

    async def wait(self, audience: str, known: Position) -> None:
        """Return once the feed of `audience` has another position than `known`. Waiting costs neither thread nor query.

        Queries the feed's position once, together with other feeds that sockets and requests wait for.
        """
        watch = self._watches.setdefault(audience, Watch())
        moved = watch.add(known)  # before the query, so that an entry committed in between isn't missed
        self._start()
        try:
            at = await self._positions.load(audience)
            if at:
                watch.note(at)
            await moved
        finally:
            watch.discard(moved)
            if not watch:
                self._watches.pop(audience, None)
            if not self.in_use:
                self._stop()

    @property
    def in_use(self) -> bool:
        """Return whether the hub has a socket or a waiting request. This takes no longer if there are many."""
        return bool(self._of_user or self._watches)

    def sockets(self) -> list[Socket]:
        """Return all sockets of this hub."""
        return [socket for feed in list(self._feeds.values()) for socket in list(feed.sockets)]

    @property
    def deaf(self) -> bool:
        """Return whether this process gets no hints (messages about new entries) of other processes.

        Then only the regular query finds entries that other processes commit.
        """
        return self._subscriber is not None and self._subscriber.deaf

    def answer_ping(self, socket: Socket) -> None:
        """Answer a page's "ping" with a heartbeat, which tells the page that it is up to date.

        Write nothing if the regular query for new entries hasn't succeeded for BEAT seconds, because the page may be
        out of date.
        """
        if time.monotonic() - self.tailed_at < BEAT:
            socket.write(self._feeds[socket.session.audience].heartbeat())

    def prepare(self, changes: Iterable[StatusChange]) -> None:
        """Render changes of payments while the database commits them, so that open pages get them sooner.

        They are rendered for staff's pages or, if none is open, for the patient's. A commit is too short for both;
        `Fanout` renders what is missing before it writes to the pages. Any thread may call this method. It only logs
        errors, because `Fanout` then renders again.
        """
        try:
            for change in changes:
                patient = patient_audience(change.payment.appointment.patient_id)
                if feed := self._feeds.get(STAFF) or self._feeds.get(patient):
                    for language in feed.languages:
                        render_change(change.payment, change, feed.audience, language)
        except Exception:
            logger.exception("live_rendering_failed")

    def on_hint(self, audience: str, at: Position, entry: FeedEntry | None = None) -> None:
        """Handle a hint: the message that the feed of `audience` has reached the position `at`.

        Any thread may call this method. `entry` is the feed entry at that position if this process committed it.
        """
        feed = self._feeds.get(audience)
        if feed is None and audience != probe.AUDIENCE and audience not in self._watches:
            return
        self._loop.call_soon_threadsafe(self._advance, audience, at, entry)

    def _advance(self, audience: str, at: Position, entry: FeedEntry | None = None) -> None:
        if self.probe and audience == probe.AUDIENCE:
            self.probe.heard(at.seq, metrics.PUSH)
        if watch := self._watches.get(audience):
            watch.note(at)
        feed = self._feeds.get(audience)
        if feed and feed.advance(at, metrics.PUSH, entry):
            self._spawn(feed.pump())

    async def _run(self) -> None:
        """Query new entries and the access version (every TAIL seconds) and write heartbeats (BEAT).

        Close the sockets whose login session has ended. Runs until cancelled. While the query fails, no heartbeats are
        written, because a heartbeat tells a page that it is up to date.
        """
        beat_due = time.monotonic() + BEAT
        while True:
            due = time.monotonic() + TAIL
            await asyncio.sleep(TAIL)
            self.lag = max(0.0, time.monotonic() - due)
            try:
                access = await self._tail()
                self.tailed_at = time.monotonic()
                if self._check_due(access):
                    await self._close_ended(access)
                if time.monotonic() >= beat_due:
                    beat_due = time.monotonic() + BEAT - TAIL / 2
                    await self._beat()
            except Exception:
                logger.exception("live_tail_failed")

    async def _beat(self) -> None:
        """Write a heartbeat to all live sockets.

        Pause after each BEATS_AT_ONCE of them, so that a new entry needn't wait until thousands are written.
        """
        for number, _ in enumerate(chain.from_iterable(feed.beat() for feed in list(self._feeds.values())), 1):
            if number % BEATS_AT_ONCE == 0:
                await asyncio.sleep(PAUSE)

    async def _tail(self) -> int:
        """Query which feeds have another newest number than this process knows, and start to write their new entries.

        Return the access version, which the same query reads.
        """
        heads = {audience: Position(feed.epoch or "", feed.head) for audience, feed in self._feeds.items()}
        known = self._known(heads)
        if self.probe:
            known[probe.AUDIENCE] = Position("", 0)
        access, moved = await in_thread(load_moved, known)
        at = moved.pop(probe.AUDIENCE, None)
        if self.probe and at and self.probe.heard(at.seq, metrics.TAIL):
            metrics.FEEDS_FOUND_LATE.inc()
        for audience, at in moved.items():
            if (watch := self._watches.get(audience)) and at:
                watch.note(at)
            feed = self._feeds.get(audience)
            if feed is None or feed.sent is None:
                continue
            at = at or Position(feed.epoch or "", 0)
            feed.doubtful |= at.seq < heads[audience].seq  # as after a restore
            if feed.advance(at, metrics.TAIL):
                metrics.FEEDS_FOUND_LATE.inc()
        for feed in self._feeds.values():
            if feed.behind:
                self._spawn(feed.pump())
        return access

    def _known(self, heads: Mapping[str, Position]) -> dict[str, Position]:
        """Return the positions that this process knows of its feeds; `heads` are those that the sockets' feeds know.

        Where a feed's sockets and its waiting requests know different positions, because a hint was lost, return the
        position of an empty feed, so that the query tells the present one.
        """
        known = dict(heads)
        for audience, watch in self._watches.items():
            at = watch.at or Position("", 0)
            known[audience] = at if heads.get(audience, at) == at else Position("", 0)
        return known

    def _note_validity(self, session: SocketSession) -> None:
        """Note until when the login session of a new socket is valid, and at which access version it was loaded."""
        self._expires = min(self._expires, session.expires)
        if session.access != self._access:
            self._access = None

    def _check_due(self, access: int) -> bool:
        """Return whether a login session may have ended since all were checked: at most every CHECK_LEAST seconds.

        `access` is the access version that is valid now.
        """
        age = time.monotonic() - self._checked_at
        changed = access != self._access or timezone.now() >= self._expires
        return age >= CHECK_MOST or (changed and age >= CHECK_LEAST)

    async def _close_ended(self, access: int) -> None:
        """Close the sockets whose login session has ended or whose user may no longer read the feed.

        `access` is the access version that was read before.
        """
        sockets = self.sockets()
        ended = await in_thread(ended_sessions, [socket.session for socket in sockets], access)
        for socket in sockets:
            if code := ended.get(socket.session):
                metrics.SOCKETS_CLOSED.labels(str(code)).inc()
                socket.close(code)
                self.leave(socket)
        self._checked_at, self._access, self._expires = time.monotonic(), access, NEVER
        for socket in self.sockets():  # including those that joined during the check
            self._note_validity(socket.session)

    def _make_room(self, socket: Socket) -> None:
        """Register a new socket under its user. If the user now has more than PER_USER, close the oldest one."""
        sockets = self._of_user[socket.session.user_id]
        sockets[socket] = None
        if len(sockets) > PER_USER:
            oldest = next(iter(sockets))
            oldest.close(TOO_MANY)
            self.leave(oldest)

    def _start(self) -> None:
        """Start the hub's tasks unless they are running, and subscribe to hints (messages about new entries)."""
        if not self._tasks:
            self.lag, self.tailed_at = 0.0, time.monotonic()
            hints.local_hubs.add(self.on_hint)
            self._spawn(self._run())
            if app_settings.CLINIC_PROBE_SECONDS:
                self.probe = probe.Probe()
                self._spawn(self.probe.run())
            if (layer := hints.shared_layer()) is not None:
                self._subscriber = hints.Subscriber(layer, self._advance)
                self._spawn(self._subscriber.run())

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
