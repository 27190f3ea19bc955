"""One open socket: writes that never wait, and that cut a reader who doesn't keep up.

The two servers' own transports are written to directly, a frame prepared once for all sockets; any other ASGI
server, and any version of theirs that looks different, gets plain `send()`.
"""

import asyncio
import functools
import logging
import struct
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

from . import metrics
from .holders import Holder

logger = logging.getLogger(__name__)

LIMIT = 1024 * 1024  # bytes that a reader may be behind, beyond what the operating system keeps for it
TOO_SLOW = 1008

Send = Callable[[Any], Awaitable[None]]


@functools.lru_cache(maxsize=64)
def wire_frames(texts: tuple[bytes, ...]) -> bytes:
    """What many sockets are told at once, put together once."""
    return b"".join(map(wire_frame, texts))


def wire_frame(text: bytes) -> bytes:
    """An unmasked text frame, https://www.rfc-editor.org/rfc/rfc6455#section-5.2."""
    size = len(text)
    if size < 126:
        return struct.pack("!BB", 0x81, size) + text
    return (struct.pack("!BBH", 0x81, 126, size) if size < 65536 else struct.pack("!BBQ", 0x81, 127, size)) + text


class DaphneWire:
    """autobahn's protocol on a Twisted transport."""

    def __init__(self, protocol: Any) -> None:
        self._protocol, self._transport = protocol, protocol.transport
        self.write = self._transport.write
        self.unsent()

    def open(self) -> bool:
        return bool(self._protocol.state == self._protocol.STATE_OPEN)

    def unsent(self) -> int:
        return len(self._transport.dataBuffer) + int(self._transport._tempDataLen)

    def abort(self) -> None:
        self._transport.abortConnection()


class UvicornWire:
    """uvicorn's sans-I/O protocol on an asyncio transport."""

    def __init__(self, protocol: Any) -> None:
        self._protocol, self._transport = protocol, protocol.transport
        self.write, self.unsent = self._transport.write, self._transport.get_write_buffer_size
        self.abort = self._transport.abort
        self.open()

    def open(self) -> bool:
        return bool(self._protocol.handshake_complete and not self._protocol.close_sent)


def wire_of(send: Send) -> DaphneWire | UvicornWire | None:
    """The server's transport behind its `send`, where it is one that we know."""
    try:
        if isinstance(send, functools.partial) and hasattr(send.args[0], "sendPreparedMessage"):
            return DaphneWire(send.args[0])
        owner = getattr(send, "__self__", None)
        return UvicornWire(owner) if type(owner).__name__ == "WebSocketsSansIOProtocol" else None
    except (AttributeError, IndexError):
        return None


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
