"""One open WebSocket: writing to it never waits, and a page that reads too slowly is disconnected."""

import asyncio
import logging
from collections import deque

from .. import metrics
from .socket_sessions import SocketSession
from .wires import Send, wire_frames, wire_of

logger = logging.getLogger(__name__)

LIMIT = 1024 * 1024  # unsent bytes above which a connection is cut; the system's own buffers don't count
TOO_SLOW = 1008


class Socket:
    """An open WebSocket of one page, which follows a feed (a numbered list of changes).

    The page has all feed entries up to number `seq`; `epoch` is the feed's epoch to which that number belongs, or None
    if it isn't known. `live` becomes true once the page has caught up and gets each new entry.
    """

    def __init__(self, session: SocketSession, language: str, send: Send, server_send: Send | None = None) -> None:
        self.session, self.language = session, language
        self.seq, self.live, self.closed = 0, False, False
        self.epoch: str | None = None
        self._send = send
        self._wire = wire_of(server_send) if server_send else None
        self._buffer: deque[bytes] = deque()
        self._writer: asyncio.Task[None] | None = None

    def write(self, *texts: bytes) -> None:
        """Send text messages (UTF-8) without waiting; drop the connection if more than LIMIT bytes are still unsent."""
        if self.closed:
            return
        if self.unsent() > LIMIT:
            metrics.SOCKETS_CUT.inc()
            logger.warning("live_socket_cut", extra={"audience": self.session.audience, "unsent": self.unsent()})
            self.abort()
        elif self._wire is None:
            self._buffer.extend(texts)
            if self._writer is None or self._writer.done():
                self._writer = asyncio.create_task(self._flush())
        elif self._wire.open():
            self._wire.write(wire_frames(texts))

    def unsent(self) -> int:
        """Return how many bytes for the page are still buffered in this process."""
        return self._wire.unsent() if self._wire else sum(map(len, self._buffer))

    def abort(self) -> None:
        """Drop the connection at once, without waiting until the page has received the buffered messages."""
        if self._wire is None:
            self.close(TOO_SLOW)
        else:
            self.closed = True
            self._wire.abort()

    def close(self, code: int) -> None:
        """Close the connection with a close code. Messages in `_buffer` are dropped, and later writes are ignored."""
        if not self.closed:
            self.closed = True
            if self._writer is not None:
                self._writer.cancel()
            self._writer = asyncio.create_task(self._send_close(code))

    async def _flush(self) -> None:
        while self._buffer:
            await self._send({"type": "websocket.send", "text": self._buffer[0].decode()})
            self._buffer.popleft()

    async def _send_close(self, code: int) -> None:
        await self._send({"type": "websocket.close", "code": code})
