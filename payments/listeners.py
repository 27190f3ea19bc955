"""The sockets of one feed in this process: each is told every entry after the one it knows, in order, once."""

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar, cast

from channels.db import database_sync_to_async

from . import metrics
from .live import BATCH, BEAT, Batch, Frames, at_hand, frame, frames_after, frames_of
from .models import FeedEntry
from .models.feed import STAFF
from .seen import mark_pushed
from .sockets import Socket

BREATH = 200  # sockets written to before others get their turn

P = ParamSpec("P")
R = TypeVar("R")
_threads = ThreadPoolExecutor(max_workers=4, thread_name_prefix="live")


async def in_thread(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Run database work in threads of live delivery's own, so that it and the requests don't wait for each other."""
    run = database_sync_to_async(function, thread_sensitive=False, executor=_threads)
    return cast(R, await run(*args, **kwargs))


class Listeners:
    """`sent` is the number that all live sockets were told (None: not asked yet), `head` the newest that is known."""

    def __init__(self, audience: str) -> None:
        self.audience = audience
        self.sockets: set[Socket] = set()
        self.languages = frozenset[str]()  # that have been spoken here
        self.sent: int | None = None
        self.head, self.path = 0, metrics.PUSH
        self._pumping = asyncio.Lock()
        self._fresh: dict[int, FeedEntry] = {}  # committed by this process a moment ago: no need to ask for them
        self._told: deque[FeedEntry] = deque(maxlen=BATCH)  # up to `sent`, for those who come back together

    @property
    def behind(self) -> bool:
        return self.sent is not None and self.head > self.sent

    def moved(self, seq: int, path: str, entry: FeedEntry | None = None) -> bool:
        """Whether it is news, by this path, that the feed has reached this number."""
        if entry and seq > (self.sent or 0):
            self._fresh[seq] = entry
        if seq <= self.head:
            return False
        self.head, self.path = seq, path
        return True

    def add(self, socket: Socket) -> None:
        self.sockets.add(socket)
        self.languages |= {socket.language}

    def live(self) -> list[Socket]:
        return [socket for socket in self.sockets if socket.live]

    async def catch_up(self, socket: Socket) -> None:
        """Tell a socket, which has joined already, all after its number if it is of use; then hello, and it is live."""
        while not socket.closed and (self.sent is None or socket.seq != self.sent):
            languages = frozenset({socket.language})
            if lately := self._told_after(socket.seq):
                await self._tell([socket], await self._frames(lately, languages))
                continue
            batch, frames = await in_thread(frames_after, self.audience, socket.seq, languages)
            await self._tell([socket], frames)
            await self._note_pushed(batch)
            socket.seq = batch.last
            if self.sent is None:
                self.sent, self.head = batch.head, max(self.head, batch.head)
            elif batch.head < self.sent:  # the database was put back to an older state
                self.sent = self.head = batch.head
                self._fresh.clear()
                self._told.clear()
            if self.sent <= socket.seq == batch.head:
                break
        socket.live = True
        socket.write(frame({"t": "hello", "seq": socket.seq, "hb": BEAT}))

    async def pump(self) -> None:
        """Tell all live sockets what they haven't been told."""
        async with self._pumping:
            while self.sockets and self.sent is not None and self.head > self.sent:
                languages = self.languages
                batch, frames = await self._next(self.sent, languages)
                if self.languages != languages:
                    continue  # somebody of another language came meanwhile
                self.sent, self.head = batch.last, max(batch.head, batch.last)
                self._told.extend(batch.entries)
                await self._tell(self.live(), frames)
                metrics.pushed(batch.entries, self.path)
                await self._note_pushed(batch)

    def _told_after(self, seq: int) -> Batch | None:
        """What this process told lately after a number, if that is all there is."""
        entries = [entry for entry in self._told if entry.seq > seq]
        whole = entries and entries[-1].seq == self.sent == seq + len(entries)
        return Batch(entries[-1].seq, entries) if whole else None

    async def _next(self, sent: int, languages: frozenset[str]) -> tuple[Batch, Frames]:
        fresh = self._fresh_batch(sent)
        if fresh is None:
            return await in_thread(frames_after, self.audience, sent, languages)
        return fresh, await self._frames(fresh, languages)

    async def _frames(self, batch: Batch, languages: frozenset[str]) -> Frames:
        frames = at_hand(batch, languages)
        return frames if frames is not None else await in_thread(frames_of, batch, languages)

    def _fresh_batch(self, sent: int) -> Batch | None:
        """What comes next, if all of it was committed by this process."""
        entries = [self._fresh.get(seq) for seq in range(sent + 1, min(self.head, sent + BATCH) + 1)]
        self._fresh = {seq: entry for seq, entry in self._fresh.items() if seq > self.head}
        known = [entry for entry in entries if entry]
        return Batch(self.head, known) if len(known) == len(entries) else None

    async def beat(self) -> None:
        text = self.heartbeat()
        for number, socket in enumerate(self.live(), 1):
            socket.write(text)
            if number % BREATH == 0:
                await asyncio.sleep(0)

    def heartbeat(self) -> bytes:
        """What proves to a page that it is current: the feed's newest number, as the database said lately."""
        return frame({"t": "hb", "seq": self.head})

    async def _note_pushed(self, batch: Batch) -> None:
        if any(entry.pushed_at is None for entry in batch.entries) and self.audience != STAFF:
            await in_thread(mark_pushed, batch.entries)

    async def _tell(self, listeners: list[Socket], frames: Frames) -> None:
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
