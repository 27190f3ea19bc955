"""Writes WebSocket frames straight to daphne's or uvicorn's transport, so that a frame is built once for all sockets.

Only this file uses private attributes of the two servers. For another ASGI server, or for a version without these
attributes, `wire_of` returns None and messages go through ASGI's `send()`.
"""

import functools
import struct
from collections.abc import Awaitable, Callable
from typing import Any

Send = Callable[[Any], Awaitable[None]]


@functools.lru_cache(maxsize=64)
def wire_frames(texts: tuple[bytes, ...]) -> bytes:
    """Return the texts as WebSocket frames, joined. Cached, because many sockets in a row are sent equal texts."""
    return b"".join(map(wire_frame, texts))


def wire_frame(text: bytes) -> bytes:
    """Return the text (UTF-8) as an unmasked frame: https://www.rfc-editor.org/rfc/rfc6455#section-5.2."""
    size = len(text)
    if size < 126:
        return struct.pack("!BB", 0x81, size) + text
    return (struct.pack("!BBH", 0x81, 126, size) if size < 65536 else struct.pack("!BBQ", 0x81, 127, size)) + text


class DaphneWire:
    """Writes to one connection of daphne, which is an autobahn protocol on a Twisted transport."""

    def __init__(self, protocol: Any) -> None:
        self._protocol, self._transport = protocol, protocol.transport
        self.write = self._transport.write
        self.unsent()  # raises AttributeError if this version lacks the private attributes

    def open(self) -> bool:
        """Return whether the connection is open, so that frames may be written to it."""
        return bool(self._protocol.state == self._protocol.STATE_OPEN)

    def unsent(self) -> int:
        """Return how many bytes wait in the transport's buffers."""
        return len(self._transport.dataBuffer) + int(self._transport._tempDataLen)

    def abort(self) -> None:
        """Drop the connection at once."""
        self._transport.abortConnection()


class UvicornWire:
    """Writes to one connection of uvicorn, which is its sans-I/O protocol on an asyncio transport."""

    def __init__(self, protocol: Any) -> None:
        self._protocol, self._transport = protocol, protocol.transport
        self.write, self.unsent = self._transport.write, self._transport.get_write_buffer_size
        self.abort = self._transport.abort
        self.open()  # raises AttributeError if this version lacks the private attributes

    def open(self) -> bool:
        """Return whether the connection is open, so that frames may be written to it."""
        return bool(self._protocol.handshake_complete and not self._protocol.close_sent)


def wire_of(send: Send) -> DaphneWire | UvicornWire | None:
    """Return the connection behind a server's `send` callable, or None if the server or its version is unknown."""
    try:
        if isinstance(send, functools.partial) and hasattr(send.args[0], "sendPreparedMessage"):
            return DaphneWire(send.args[0])
        owner = getattr(send, "__self__", None)
        return UvicornWire(owner) if type(owner).__name__ == "WebSocketsSansIOProtocol" else None
    except (AttributeError, IndexError):
        return None
