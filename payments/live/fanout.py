"""The sockets of one feed in this process: each is told every entry after the one it knows, in order, once."""

import asyncio
import time
from collections.abc import Iterable

from .. import metrics
from ..models import FeedEntry
from ..models.feed import STAFF
from .feeds import BATCH, BEAT, Batch
from .rendering import Frames, at_hand, frame, frames_after, frames_of
from .sockets import Socket
from .threads import in_thread
from .traces import mark_pushed

BREATH = 200  # sockets written to before others get their turn
PORTION = 10  # entries written to a socket at once: a message to the operating system costs more than its bytes


class Listeners:
    """`sent` is the number that all live sockets were told (None: not asked yet), `head` the newest that is known."""

    def __init__(self, audience: str) -> None:
        self.audience = audience
        self.sockets: set[Socket] = set()
        self.languages = frozenset[str]()  # that have been spoken here
        self.sent: int | None = None
        self.head, self.path = 0, metrics.PUSH
        self._pumping, self._asking = asyncio.Lock(), asyncio.Lock()
        self._known: dict[int, FeedEntry] = {}  # by number: committed by this process a moment ago, or told lately

    @property
    def behind(self) -> bool:
        return self.sent is not None and self.head > self.sent

    def moved(self, seq: int, path: str, entry: FeedEntry | None = None) -> bool:
        """Whether it is news, by this path, that the feed has reached this number."""
        if entry and seq > (self.sent or 0):
            self._known[seq] = entry
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
        languages = frozenset({socket.language})
        while not socket.closed and socket.seq != self.sent:
            if lately := self._told_after(socket.seq):
                await self._tell([socket], await self._frames(lately, languages))
                continue
            async with self._asking:
                if self._told_after(socket.seq):
                    continue  # another, who waited for the same, has asked
                batch, frames = await in_thread(frames_after, self.audience, socket.seq, languages)
                self._note_head(batch)
            await self._tell([socket], frames)
            await self._note_pushed(batch)
            socket.seq = batch.last
            if (self.sent or 0) <= socket.seq == batch.head:
                break
        socket.live = True
        socket.write(frame({"t": "hello", "seq": socket.seq, "hb": BEAT}))

    def _note_head(self, batch: Batch) -> None:
        if self.sent is None:
            self.sent, self.head = batch.head, max(self.head, batch.head)
        elif batch.head < self.sent:  # the database was put back to an older state
            self.sent = self.head = batch.head
            self._known.clear()
        self._remember(batch.entries)

    async def pump(self) -> None:
        """Tell all live sockets what they haven't been told."""
        async with self._pumping:
            while self.sockets and self.sent is not None and self.head > self.sent:
                languages = self.languages
                batch, frames = await self._next(self.sent, languages)
                if self.languages != languages:
                    continue  # somebody of another language came meanwhile
                self.sent, self.head = batch.last, max(batch.head, batch.last)
                self._remember(batch.entries)
                started = time.monotonic()
                await self._tell(self.live(), frames)
                took = time.monotonic() - started
                metrics.pushed(batch.entries, self.path)
                await self._note_pushed(batch)
                if self.behind:  # a burst: gather, so that it is told in few messages and webhooks go on meanwhile
                    await asyncio.sleep(took)

    def _remember(self, told: Iterable[FeedEntry]) -> None:
        """For those who come back together; as many as they are told at once."""
        known = self._known | {entry.seq: entry for entry in told}
        self._known = {seq: entry for seq, entry in known.items() if seq > (self.sent or 0) - BATCH}

    def _told_after(self, seq: int) -> Batch | None:
        """What the others were told after a number; None: the database must be asked."""
        return None if self.sent is None else self._at_hand(seq, self.sent)

    def _at_hand(self, after: int, last: int) -> Batch | None:
        """The entries after one number up to another, BATCH at most, if none of them has to be asked for."""
        numbers = range(after + 1, min(last, after + BATCH) + 1)
        entries = [self._known[seq] for seq in numbers if seq in self._known]
        return Batch(self.head, entries) if after <= last and len(entries) == len(numbers) else None

    async def _next(self, sent: int, languages: frozenset[str]) -> tuple[Batch, Frames]:
        if (fresh := self._at_hand(sent, self.head)) is None:
            return await in_thread(frames_after, self.audience, sent, languages)
        return fresh, await self._frames(fresh, languages)

    async def _frames(self, batch: Batch, languages: frozenset[str]) -> Frames:
        frames = at_hand(batch, languages)
        return frames if frames is not None else await in_thread(frames_of, batch, languages)

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
        """A few entries at a time, with pauses in which the server sends: a burst alone must not make readers slow."""
        for start in range(0, max(map(len, frames.values()), default=0), PORTION):
            for number, socket in enumerate(listeners, 1):
                entries = frames[socket.language][start : start + PORTION]
                if news := [entry for entry in entries if entry[0] > socket.seq]:
                    socket.write(*(text for _, text in news))
                    socket.seq = news[-1][0]
                if number % BREATH == 0:
                    await asyncio.sleep(0)
            await asyncio.sleep(0)
