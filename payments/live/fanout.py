"""Writes new entries of feeds to this process's WebSockets. A feed is the numbered list of changes that pages follow.

Each socket gets each entry of its feed once and in order. Database queries are avoided where possible.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator

import orjson

from .. import metrics
from ..models import FeedEntry
from ..models.feed import STAFF, Position
from .feeds import BATCH, Batch
from .rendering import Frames, cached_frames, load_frames, render_frames
from .sockets import Socket
from .threads import in_thread
from .timing import BEAT
from .traces import mark_pushed
from .wires import Messages

YIELD_EVERY = 200  # sockets written to before other tasks of the event loop get a turn
LONGEST_PAUSE = 1.0  # seconds between two writes of a burst, also if the process was frozen during the first
PORTION = 10  # entries written to a socket at once, because a system call costs more than its bytes


class RecentEntries:
    """Buffer of the newest entries of a feed (list of changes), so that sockets only a little behind need no query."""

    def __init__(self) -> None:
        self._entries: dict[int, FeedEntry] = {}

    def add(self, entries: Iterable[FeedEntry]) -> None:
        """Put feed entries (changes of payments) into the buffer."""
        self._entries |= {entry.seq: entry for entry in entries}

    def trim(self, newest: int) -> None:
        """Drop feed entries numbered `newest` - BATCH or less, because a socket gets at most BATCH entries at once."""
        self._entries = {seq: entry for seq, entry in self._entries.items() if seq > newest - BATCH}

    def clear(self) -> None:
        """Drop all feed entries (changes of payments) from the buffer."""
        self._entries.clear()

    def between(self, after: int, last: int) -> list[FeedEntry] | None:
        """Return feed entries number `after` + 1 to `last`, at most BATCH, or None if the buffer lacks one of them."""
        numbers = range(after + 1, min(last, after + BATCH) + 1)
        if after > last or any(seq not in self._entries for seq in numbers):
            return None
        return [self._entries[seq] for seq in numbers]


class Fanout:
    """The WebSockets of this process that follow one feed (a numbered list of changes), and how far they have read it.

    `sent` is the number of the entry that all live sockets have reached, or None before the first query. `head` is the
    feed's newest known number; both numbers count in the epoch `epoch`. `path` says how this process learned of `head`:
    from another process (a hint), or by the hub's regular query (the tail). `doubtful` says that the feed's numbers may
    have begun again, as after a restored backup, so that the database has to be queried.
    """

    def __init__(self, audience: str, load_position: Callable[[str], Awaitable[Position | None]]) -> None:
        self.audience, self._load_position = audience, load_position
        self.sockets: set[Socket] = set()
        self.languages = frozenset[str]()  # of all sockets added so far
        self.epoch: str | None = None
        self.sent: int | None = None
        self.head, self.path = 0, metrics.PUSH
        self.doubtful = False
        self._pumping, self._querying = asyncio.Lock(), asyncio.Lock()
        self._recent = RecentEntries()

    @property
    def behind(self) -> bool:
        """Return whether the feed has, or may have, entries that `pump` hasn't yet written to the live sockets."""
        return self.sent is not None and (self.doubtful or self.head > self.sent)

    def advance(self, at: Position, path: str, entry: FeedEntry | None = None) -> bool:
        """Note that the feed has reached the position `at`, and return whether that is new to this process.

        `path` says how the position became known: from another process (a hint) or by the hub's regular query (the
        tail). `entry` is the feed entry at this position; it is given only by the process that committed the entry.
        """
        if self.epoch not in (None, at.epoch):
            self.doubtful = True
            return True
        if entry and at.seq > (self.sent or 0):
            self._recent.add([entry])
        if at.seq <= self.head:
            return False
        self.head, self.path = at.seq, path
        return True

    def add(self, socket: Socket) -> None:
        """Add a WebSocket to those that follow the feed; it gets new entries once `catch_up` has made it live."""
        self.sockets.add(socket)
        self.languages |= {socket.language}

    def live(self) -> list[Socket]:
        """Return the live sockets: those that have all earlier feed entries, and to which new ones are written."""
        return [socket for socket in self.sockets if socket.live]

    async def catch_up(self, socket: Socket) -> None:
        """Write to a newly added socket all feed entries that it lacks, then the message "hello", and make it live.

        The socket lacks the entries after number `socket.seq`. Sockets that need the same entries share one query. A
        live socket gets each new entry.
        """
        languages = frozenset({socket.language})
        while not socket.closed and not (socket.seq == self.sent and self._same_epoch(socket)):
            if recent := self._sent_after(socket):
                await self._write([socket], await self._render(recent, languages))
                continue
            async with self._querying:
                if self._sent_after(socket) is not None:
                    continue  # another socket has loaded what this one needs while it waited for the lock
                sent = self.sent
                batch, frames = await self._load_for(socket)
                continued = self._note_loaded(batch, sent)
            await self._write([socket], frames)
            await self._mark_pushed(batch.entries)
            socket.epoch, socket.seq = batch.epoch, batch.last
            if not continued or (self.sent or 0) <= socket.seq == batch.head:
                break
        socket.live = True
        socket.write(_hello(Position(socket.epoch or self.epoch or "", socket.seq)))

    async def _load_for(self, socket: Socket) -> tuple[Batch, Frames]:
        """Load the entries that a newly added socket lacks, and their messages.

        First load the feed's position, in one query with the positions of other feeds that sockets wait for: most of a
        thousand pages that come back together lack no entry.
        """
        at = await self._load_position(self.audience)
        if at and at == (socket.epoch, socket.seq):
            return Batch(*at), {}
        languages = frozenset({socket.language})
        return await in_thread(load_frames, self.audience, socket.seq, socket.epoch, languages)

    def _same_epoch(self, socket: Socket) -> bool:
        return socket.epoch == self.epoch

    def _note_loaded(self, batch: Batch, sent: int | None) -> bool:
        """Update `sent`, `head` and the buffer from a batch of feed entries that was loaded for one socket.

        `sent` is the value of `self.sent` before the query. Return False if the feed's numbers may have begun again:
        the batch has another epoch, or the feed ends before `sent`.
        """
        if self.sent is None:
            self.epoch, self.sent, self.head = batch.epoch, batch.head, max(self.head, batch.head)
        elif batch.epoch != self.epoch or batch.head < (sent or 0):
            self.doubtful = True
            return False
        self._keep(batch.entries)
        return True

    async def pump(self) -> None:
        """Write the feed's new entries to all live sockets until all are written.

        If the feed's numbers have begun again, send the sockets the feed's new position instead.
        """
        async with self._pumping:
            while self.sockets and self.sent is not None and self.behind:
                languages, head = self.languages, self.head
                batch, frames = await self._load_after(self.sent, languages)
                if batch.reset:
                    await self._restart(Position(batch.epoch, batch.head))
                    continue
                if self.languages != languages:
                    continue  # a socket with another language was added meanwhile, so load again
                self.sent = batch.last
                if self.head == head:  # else a hint came meanwhile
                    self.head = max(batch.head, batch.last)
                self._keep(batch.entries)
                started = time.monotonic()
                await self._write(self.live(), frames)
                took = time.monotonic() - started
                metrics.pushed(batch.entries, self.path)
                await self._mark_pushed(batch.entries)
                if self.behind:  # in a burst, wait: fewer writes carry more entries, and webhooks get a turn
                    await asyncio.sleep(min(took, LONGEST_PAUSE))

    async def _restart(self, at: Position) -> None:
        """Tell all live sockets the feed's new position `at`, so that their pages load again; continue from there."""
        self.epoch, self.sent, self.head = at.epoch, at.seq, at.seq
        self._recent.clear()
        hello = _hello(at)
        for number, socket in enumerate(self.live(), 1):
            socket.epoch, socket.seq = at
            socket.write(hello)
            if number % YIELD_EVERY == 0:
                await asyncio.sleep(0)

    def _keep(self, entries: Iterable[FeedEntry]) -> None:
        """Buffer feed entries for sockets that reconnect soon, and drop older entries from the buffer."""
        self._recent.add(entries)
        self._recent.trim(self.sent or 0)

    def _sent_after(self, socket: Socket) -> list[FeedEntry] | None:
        """Return at most BATCH entries that live sockets have and this one lacks, or None if the buffer lacks any."""
        if self.sent is None or not self._same_epoch(socket):
            return None
        return self._recent.between(socket.seq, self.sent)

    async def _load_after(self, seq: int, languages: frozenset[str]) -> tuple[Batch, Frames]:
        """Return the feed's entries after number `seq`, and their messages in `languages`.

        They come from the buffer, unless it lacks one or the feed's numbers may have begun again (`doubtful`); then the
        database is queried.
        """
        recent = None if self.doubtful else self._recent.between(seq, self.head)
        if recent is None:
            self.doubtful = False
            return await in_thread(load_frames, self.audience, seq, self.epoch, languages)
        return Batch(self.epoch or "", self.head, recent), await self._render(recent, languages)

    async def _render(self, entries: list[FeedEntry], languages: frozenset[str]) -> Frames:
        frames = cached_frames(entries, languages)
        return frames if frames is not None else await in_thread(render_frames, entries, languages)

    def beat(self) -> Iterator[None]:
        """Write a heartbeat to all live sockets. Yield after each, so that the caller can pause."""
        at, heartbeat = (self.epoch, self.head), self.heartbeat()
        for socket in self.live():
            if at != (self.epoch, self.head):
                at, heartbeat = (self.epoch, self.head), self.heartbeat()
            socket.write(heartbeat)
            yield

    def heartbeat(self) -> Messages:
        """Return the heartbeat message, whose epoch and newest number let a page check that it has all entries."""
        return Messages(orjson.dumps({"t": "hb", "seq": self.head, "epoch": self.epoch}))

    async def _mark_pushed(self, entries: list[FeedEntry]) -> None:
        if any(entry.pushed_at is None for entry in entries) and self.audience != STAFF:
            await in_thread(mark_pushed, entries)

    async def _write(self, sockets: list[Socket], frames: Frames) -> None:
        """Write to each socket the messages in `frames` that it lacks, those of PORTION feed entries at a time.

        Other tasks run between the portions, so that the server can send the bytes. Otherwise a burst of entries would
        fill the sockets' buffers, and every socket would seem too slow.
        """
        for start in range(0, max(map(len, frames.values()), default=0), PORTION):
            portions: dict[tuple[str, int], tuple[Messages, int] | None] = {}  # by language and `seq` of sockets
            for number, socket in enumerate(sockets, 1):
                key = socket.language, socket.seq
                if key not in portions:
                    portions[key] = _missing(frames[socket.language][start : start + PORTION], socket.seq)
                if portion := portions[key]:
                    messages, socket.seq = portion
                    socket.write(messages)
                if number % YIELD_EVERY == 0:
                    await asyncio.sleep(0)
            await asyncio.sleep(0)


def _missing(entries: list[tuple[int, bytes]], seq: int) -> tuple[Messages, int] | None:
    """Return the messages of the entries after number `seq`, and the last entry's number, or None without entries."""
    missing = [entry for entry in entries if entry[0] > seq]
    return (Messages(*(text for _, text in missing)), missing[-1][0]) if missing else None


def _hello(at: Position) -> Messages:
    """Return the message "hello": the feed's epoch, its newest number, and the seconds between heartbeats."""
    return Messages(orjson.dumps({"t": "hello", "seq": at.seq, "epoch": at.epoch, "hb": BEAT}))
