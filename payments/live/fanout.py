"""Writes new entries of feeds to this process's WebSockets. A feed is the numbered list of changes that pages follow.

Each socket gets each entry of its feed once and in order. Database queries are avoided where possible.
"""

import asyncio
import time
from collections.abc import Iterable

from .. import metrics
from ..models import FeedEntry
from ..models.feed import STAFF
from .feeds import BATCH, Batch
from .rendering import Frames, cached_frames, encode, load_frames, render_frames
from .sockets import Socket
from .threads import in_thread
from .timing import BEAT
from .traces import mark_pushed

YIELD_EVERY = 200  # sockets written to before other tasks of the event loop get a turn
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

    `sent` is the number of the last entry written to them, or None before the first query. `head` is the number of the
    feed's newest known entry. `path` says how this process learned of `head`: from a hint (a message sent at the
    commit) or from the hub's regular query.
    """

    def __init__(self, audience: str) -> None:
        self.audience = audience
        self.sockets: set[Socket] = set()
        self.languages = frozenset[str]()  # of all sockets added so far
        self.sent: int | None = None
        self.head, self.path = 0, metrics.PUSH
        self._pumping, self._querying = asyncio.Lock(), asyncio.Lock()
        self._recent = RecentEntries()

    @property
    def behind(self) -> bool:
        """Return whether the feed (list of changes) has entries that haven't been written yet to the live sockets.

        A socket is live once it has all earlier entries, and then gets each new one.
        """
        return self.sent is not None and self.head > self.sent

    def advance(self, seq: int, path: str, entry: FeedEntry | None = None) -> bool:
        """Note that the newest entry of the feed (list of changes) has number `seq`; return whether this is news here.

        `path` says how the number became known: metrics.PUSH (by a hint, a message sent at the commit) or metrics.TAIL
        (by the hub's regular query). `entry` is the entry with this number, given if this process committed the entry.
        """
        if entry and seq > (self.sent or 0):
            self._recent.add([entry])
        if seq <= self.head:
            return False
        self.head, self.path = seq, path
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
        while not socket.closed and socket.seq != self.sent:
            if recent := self._sent_after(socket.seq):
                await self._write([socket], await self._render(recent, languages))
                continue
            async with self._querying:
                if self._sent_after(socket.seq):
                    continue  # another socket has loaded these entries while this one waited for the lock
                batch, frames = await in_thread(load_frames, self.audience, socket.seq, languages)
                self._note_loaded(batch)
            await self._write([socket], frames)
            await self._mark_pushed(batch.entries)
            socket.seq = batch.last
            if (self.sent or 0) <= socket.seq == batch.head:
                break
        socket.live = True
        socket.write(encode({"t": "hello", "seq": socket.seq, "hb": BEAT}))

    def _note_loaded(self, batch: Batch) -> None:
        """Update `sent`, `head` and the buffer after a query for one socket has loaded feed entries (`batch`)."""
        if self.sent is None:
            self.sent, self.head = batch.head, max(self.head, batch.head)
        elif batch.head < self.sent:  # the database was restored to an older state
            self.sent = self.head = batch.head
            self._recent.clear()
        self._keep(batch.entries)

    async def pump(self) -> None:
        """Write the new entries of the feed (list of changes) to all live sockets, until no entry is left to write."""
        async with self._pumping:
            while self.sockets and self.sent is not None and self.head > self.sent:
                languages = self.languages
                batch, frames = await self._load_after(self.sent, languages)
                if self.languages != languages:
                    continue  # a socket with another language was added meanwhile, so load again
                self.sent, self.head = batch.last, max(batch.head, batch.last)
                self._keep(batch.entries)
                started = time.monotonic()
                await self._write(self.live(), frames)
                took = time.monotonic() - started
                metrics.pushed(batch.entries, self.path)
                await self._mark_pushed(batch.entries)
                if self.behind:  # in a burst, wait: fewer writes carry more entries, and webhooks get a turn
                    await asyncio.sleep(took)

    def _keep(self, entries: Iterable[FeedEntry]) -> None:
        """Buffer feed entries for sockets that reconnect soon, and drop older entries from the buffer."""
        self._recent.add(entries)
        self._recent.trim(self.sent or 0)

    def _sent_after(self, seq: int) -> list[FeedEntry] | None:
        """Return the feed entries after number `seq` that live sockets already have, or None if the buffer lacks one.

        At most BATCH entries are returned.
        """
        return None if self.sent is None else self._recent.between(seq, self.sent)

    async def _load_after(self, seq: int, languages: frozenset[str]) -> tuple[Batch, Frames]:
        """Return the feed entries after number `seq`, and messages about them in `languages`.

        The entries come from the buffer, or from the database if the buffer lacks one of them.
        """
        if (recent := self._recent.between(seq, self.head)) is None:
            return await in_thread(load_frames, self.audience, seq, languages)
        return Batch(self.head, recent), await self._render(recent, languages)

    async def _render(self, entries: list[FeedEntry], languages: frozenset[str]) -> Frames:
        frames = cached_frames(entries, languages)
        return frames if frames is not None else await in_thread(render_frames, entries, languages)

    async def beat(self) -> None:
        """Write to all live sockets a heartbeat, a message that tells pages the number of the feed's newest entry."""
        text = self.heartbeat()
        for number, socket in enumerate(self.live(), 1):
            socket.write(text)
            if number % YIELD_EVERY == 0:
                await asyncio.sleep(0)

    def heartbeat(self) -> bytes:
        """Return a heartbeat: a message with the newest feed entry's number, by which pages notice missing entries."""
        return encode({"t": "hb", "seq": self.head})

    async def _mark_pushed(self, entries: list[FeedEntry]) -> None:
        if any(entry.pushed_at is None for entry in entries) and self.audience != STAFF:
            await in_thread(mark_pushed, entries)

    async def _write(self, sockets: list[Socket], frames: Frames) -> None:
        """Write to each socket the messages in `frames` that it lacks, those of PORTION feed entries at a time.

        Other tasks run between the portions, so that the server can send the bytes. Otherwise a burst of entries would
        fill the sockets' buffers, and every socket would seem too slow.
        """
        for start in range(0, max(map(len, frames.values()), default=0), PORTION):
            for number, socket in enumerate(sockets, 1):
                entries = frames[socket.language][start : start + PORTION]
                if missing := [entry for entry in entries if entry[0] > socket.seq]:
                    socket.write(*(text for _, text in missing))
                    socket.seq = missing[-1][0]
                if number % YIELD_EVERY == 0:
                    await asyncio.sleep(0)
            await asyncio.sleep(0)
