"""One open socket: writes that never wait, and that cut a reader who is too slow."""

import asyncio
import logging
from collections import deque

from .. import metrics
from .socket_sessions import Holder
from .wires import Send, wire_frames, wire_of

logger = logging.getLogger(__name__)

LIMIT = 1024 * 1024  # bytes that a reader may be behind, beyond what the operating system keeps for it
TOO_SLOW = 1008


class Socket:
    """`seq` is the number that its page has reached; `live` says that the hub writes to it."""

    def __init__(self, holder: Holder, language: str, send: Send, server_send: Send | None = None) -> None:
        self.holder, self.language = holder, language
        self.seq, self.live, self.closed = 0, False, False
        self._send = send
        self._wire = wire_of(server_send) if server_send else None
        self._waiting: deque[bytes] = deque()
        self._writer: asyncio.Task[None] | None = None

    def write(self, *texts: bytes) -> None:
        """Send text messages; a reader that is LIMIT bytes behind is cut instead."""
        if self.closed:
            return
        if self.unsent() > LIMIT:
            metrics.SOCKETS_CUT.inc()
            logger.warning("live_socket_cut", extra={"audience": self.holder.audience, "unsent": self.unsent()})
            self.abort()
        elif self._wire is None:
            self._waiting.extend(texts)
            if self._writer is None or self._writer.done():
                self._writer = asyncio.create_task(self._drain())
        elif self._wire.open():
            self._wire.write(wire_frames(texts))

    def unsent(self) -> int:
        return self._wire.unsent() if self._wire else sum(map(len, self._waiting))

    def abort(self) -> None:
        """Drop the connection without waiting for a reader that doesn't read."""
        if self._wire is None:
            self.close(TOO_SLOW)
        else:
            self.closed = True
            self._wire.abort()

    def close(self, code: int) -> None:
        """Say goodbye; nothing is written after that."""
        if not self.closed:
            self.closed = True
            if self._writer is not None:
                self._writer.cancel()
            self._writer = asyncio.create_task(self._say_goodbye(code))

    async def _drain(self) -> None:
        while self._waiting:
            await self._send({"type": "websocket.send", "text": self._waiting[0].decode()})
            self._waiting.popleft()

    async def _say_goodbye(self, code: int) -> None:
        await self._send({"type": "websocket.close", "code": code})
