"""One hub per process: who listens to which feed here, and what they are written.

Each feed with listeners has one pump. A hint, from this process or another, wakes it; the database is asked every
TAIL seconds whether a hint went missing. Sockets are told in order, each number once.
"""

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar, cast

from channels.db import database_sync_to_async

from . import hints, holders
from .live import BEAT, counted, frame, frames_after, heads_of
from .sockets import Socket

logger = logging.getLogger(__name__)

TAIL = 2.0  # seconds between two looks at the feeds' heads
RECHECK = 4.0  # seconds between two checks that all sockets' holders may still hold them
PER_USER = 20  # sockets of one user in a process; the oldest makes room
TOO_MANY = 4409  # close code
BREATH = 200  # sockets written to before others get their turn

P = ParamSpec("P")
R = TypeVar("R")
_threads = ThreadPoolExecutor(max_workers=4, thread_name_prefix="live")
_hubs: dict[asyncio.AbstractEventLoop, "Hub"] = {}


def hub() -> "Hub":
    """The running event loop's hub; a server process has one loop."""
    loop = asyncio.get_running_loop()
    return _hubs.get(loop) or Hub(loop)


async def in_thread(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Run database work in threads of the hub's own, so that requests and sockets don't wait for each other."""
    run = database_sync_to_async(function, thread_sensitive=False, executor=_threads)
    return cast(R, await run(*args, **kwargs))


class Listeners:
    """The sockets of one feed. `sent` is the number that all live ones have been told, `head` the newest known."""

    def __init__(self) -> None:
        self.sockets: set[Socket] = set()
        self.sent: int | None = None
        self.head = 0
        self.pumping = asyncio.Lock()

    def live(self) -> list[Socket]:
        return [socket for socket in self.sockets if socket.live]

    def languages(self) -> frozenset[str]:
        return frozenset(socket.language for socket in self.sockets)


class Hub:
    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._feeds: dict[str, Listeners] = {}
        self._of_user: defaultdict[int, dict[Socket, None]] = defaultdict(dict)  # in the order of arrival
        self._tasks: set[asyncio.Task[None]] = set()
        self._ear: hints.Ear | None = None

    async def join(self, socket: Socket, after: int | None) -> None:
        """Tell the socket all after this number, then hello, then whatever comes. None: from now on."""
        audience = socket.holder.audience
        feed = self._feeds.setdefault(audience, Listeners())
        feed.sockets.add(socket)  # first join, then read: nothing falls between the two
        self._make_room(socket)
        self._start()
        socket.seq = -1 if after is None else after
        while not socket.closed and (feed.sent is None or socket.seq != feed.sent):
            batch, frames = await in_thread(frames_after, audience, socket.seq, frozenset({socket.language}))
            await self._tell([socket], frames)
            socket.seq = batch.last
            if feed.sent is None or batch.head < feed.sent:  # first of its feed, or the database was put back
                feed.sent = feed.head = batch.head
            if feed.sent <= socket.seq == batch.head:
                break
        socket.live = True
        socket.write(frame({"t": "hello", "seq": socket.seq, "hb": BEAT}))

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
        if not self._feeds:
            self._stop()

    def sockets(self) -> list[Socket]:
        return [socket for feed in self._feeds.values() for socket in feed.sockets]

    def beat_of(self, socket: Socket) -> bytes:
        """What proves to a page that it is current: its feed's newest number, as the database said lately."""
        feed = self._feeds.get(socket.holder.audience)
        return frame({"t": "hb", "seq": feed.head if feed else socket.seq})

    def hear(self, audience: str, seq: int) -> None:
        """A hint, from any thread."""
        if audience in self._feeds:
            self._loop.call_soon_threadsafe(self._wake, audience, seq)

    def _wake(self, audience: str, seq: int) -> None:
        feed = self._feeds.get(audience)
        if feed and feed.sent is not None and seq > feed.head:
            feed.head = seq
            self._spawn(self._pump(audience, feed))

    async def _pump(self, audience: str, feed: Listeners) -> None:
        async with feed.pumping:
            while feed.sockets and feed.sent is not None and feed.head > feed.sent:
                languages = feed.languages()
                batch, frames = await in_thread(frames_after, audience, feed.sent, languages)
                if not feed.languages() <= languages:
                    continue  # somebody of another language came meanwhile
                feed.sent, feed.head = batch.last, max(batch.head, batch.last)
                await self._tell(feed.live(), frames)

    async def _tell(self, listeners: list[Socket], frames: dict[str, list[tuple[int, bytes]]]) -> None:
        """Entry by entry, with pauses in which the server sends: a burst alone must not make a reader look slow."""
        for position in range(max(map(len, frames.values()), default=0)):
            for number, socket in enumerate(listeners, 1):
                seq, text = frames[socket.language][position]
                if seq > socket.seq:
                    socket.write(text)
                    socket.seq = seq
                if number % BREATH == 0:
                    await asyncio.sleep(0)
            await asyncio.sleep(0)

    async def _tail(self) -> None:
        heads = await in_thread(heads_of, list(self._feeds))
        behind = [(name, feed) for name, feed in self._feeds.items() if feed.sent is not None]
        late = [(name, feed) for name, feed in behind if heads.get(name, 0) > feed.head]
        for name, feed in late:
            feed.head = heads[name]
        counted["feeds_found_late"] += len(late)
        for name, feed in behind:
            if feed.head > (feed.sent or 0):
                self._spawn(self._pump(name, feed))

    async def _beat(self) -> None:
        for feed in list(self._feeds.values()):
            text = frame({"t": "hb", "seq": feed.head})
            for number, socket in enumerate(feed.live(), 1):
                socket.write(text)
                if number % BREATH == 0:
                    await asyncio.sleep(0)

    async def _recheck(self) -> None:
        sockets = self.sockets()
        ended = await in_thread(holders.lapsed, [socket.holder for socket in sockets])
        for socket in sockets:
            if code := ended.get(socket.holder):
                counted[f"sockets_closed_{code}"] += 1
                socket.close(code)
                self.leave(socket)

    async def _run(self) -> None:
        """Tail, recheck and beat. Without a fresh answer of the database there is no beat: it would prove nothing."""
        beat_due, check_due = time.monotonic() + BEAT, time.monotonic() + RECHECK
        while True:
            await asyncio.sleep(TAIL)
            try:
                await self._tail()
                if time.monotonic() >= check_due:
                    check_due = time.monotonic() + RECHECK
                    await self._recheck()
                if time.monotonic() >= beat_due:
                    beat_due += BEAT
                    await self._beat()
            except Exception as error:
                logger.exception("live_tail_failed error=%s", type(error).__name__)

    def _make_room(self, socket: Socket) -> None:
        held = self._of_user[socket.holder.user_id]
        held[socket] = None
        if len(held) > PER_USER:
            oldest = next(iter(held))
            oldest.close(TOO_MANY)
            self.leave(oldest)

    def _start(self) -> None:
        if not self._tasks:
            _hubs[self._loop] = self
            hints.local.add(self.hear)
            self._spawn(self._run())
            if (layer := hints.shared_layer()) is not None:
                self._ear = hints.Ear(layer, self._wake, self._feeds.keys)
                self._spawn(self._ear.run())
        self._listen_elsewhere()

    def _listen_elsewhere(self) -> None:
        if self._ear:
            self._ear.changed.set()

    def _stop(self) -> None:
        hints.local.discard(self.hear)
        _hubs.pop(self._loop, None)
        for task in self._tasks:
            task.cancel()
        self._tasks, self._ear = set(), None

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            logger.error("live_task_failed error=%s", type(error).__name__, exc_info=error)
