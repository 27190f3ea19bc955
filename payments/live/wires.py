"""Connections of WebSockets, as the ASGI servers provide them. A wire is one connection, and writing to it never waits.

Only this file uses private attributes of daphne and uvicorn. It writes prepared frames straight to their transports, so
that a frame is built once for all sockets, and it takes idle connections over from uvicorn, because uvicorn needs five
times as much memory for them. Another server, or a version without these attributes, is used through ASGI alone.
"""

import asyncio
import functools
import math
import random
import struct
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Literal

from websockets.frames import CloseCode
from websockets.protocol import SEND_EOF, State

from .websocket_protocol import Listener, MessageProtocol

Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]

TOO_SLOW = 1008  # close code
CLOSE_SECONDS = 10.0  # for a page to answer a close frame
SHUTDOWN_SECONDS = 1.0  # for the close frame to leave when the server stops
WATCH = 1.0  # seconds between two looks at all connections taken over from uvicorn


class Messages:
    """Text messages (UTF-8) to write to wires. They may go to many, because their frames are built only once."""

    def __init__(self, *texts: bytes) -> None:
        self.texts = texts

    @functools.cached_property
    def frames(self) -> bytes:
        """The messages as WebSocket frames, joined, so that a transport sends them with one system call."""
        return b"".join(map(wire_frame, self.texts))


def wire_frame(text: bytes) -> bytes:
    """Return the text (UTF-8) as an unmasked frame: https://www.rfc-editor.org/rfc/rfc6455#section-5.2."""
    size = len(text)
    if size < 126:
        return struct.pack("!BB", 0x81, size) + text
    return (struct.pack("!BBH", 0x81, 126, size) if size < 65536 else struct.pack("!BBQ", 0x81, 127, size)) + text


class AsgiWire:
    """A connection of an unknown ASGI server, used through the callables `receive` and `send`."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive, self._send = receive, send
        self._buffer: deque[bytes] = deque()
        self._writer: asyncio.Task[None] | None = None

    async def serve(self, listener: Listener) -> None:
        """Pass all messages to the listener until the connection ends."""
        try:
            while (event := await self._receive())["type"] != "websocket.disconnect":
                text = event.get("text")
                listener.receive(event["bytes"] if text is None else text)
        finally:
            listener.leave()

    def write(self, messages: Messages) -> None:
        """Send messages without waiting."""
        self._buffer.extend(messages.texts)
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._flush())

    def unsent(self) -> int:
        """Return how many bytes for the page are still buffered in this process."""
        return sum(map(len, self._buffer))

    def close(self, code: int) -> None:
        """Close the connection with a close code. Messages that are still buffered here are dropped."""
        if self._writer is not None:
            self._writer.cancel()
        self._writer = asyncio.create_task(self._send_close(code))

    def abort(self) -> None:
        """Drop the connection without waiting until the page has received the buffered messages."""
        self.close(TOO_SLOW)

    async def _flush(self) -> None:
        with suppress(Exception):  # the connection has ended, and the server tells `serve` so
            while self._buffer:
                await self._send({"type": "websocket.send", "text": self._buffer[0].decode()})
                self._buffer.popleft()

    async def _send_close(self, code: int) -> None:
        with suppress(Exception):  # as above
            await self._send({"type": "websocket.close", "code": code})


class DaphneWire(AsgiWire):
    """A connection of daphne, which is an autobahn protocol on a Twisted transport. It writes to the transport."""

    def __init__(self, receive: Receive, send: Send, protocol: Any) -> None:
        from twisted.internet.tcp import Connection  # here, because other servers don't load Twisted

        super().__init__(receive, send)
        self._protocol, self._transport = protocol, protocol.transport
        self._is_plain = isinstance(self._transport, Connection) and not self._transport.TLS
        self.unsent()  # raises AttributeError if this version lacks the private attributes

    def write(self, messages: Messages) -> None:
        if self._protocol.state != self._protocol.STATE_OPEN:
            return
        rest = messages.frames
        if self._is_plain and not self.unsent():  # skip Twisted's buffers, which take most of the time
            sent = self._transport.writeSomeData(rest)
            rest = rest[sent:] if isinstance(sent, int) else rest  # else the connection is lost
        if rest:
            self._transport.write(rest)

    def unsent(self) -> int:
        return len(self._transport.dataBuffer) + int(self._transport._tempDataLen)

    def abort(self) -> None:
        self._transport.abortConnection()


class UvicornServer:
    """What the connections that were taken over from one uvicorn server share.

    `connections` is the server's own set, whose members it tells to shut down, and for whose end it then waits.
    `max_size` is the most bytes of a message; `ping_interval` and `ping_timeout` are seconds. All three are uvicorn's
    options.
    """

    _servers: dict[Any, "UvicornServer"] = {}

    def __init__(self, protocol: Any) -> None:
        config = protocol.config
        self.loop: asyncio.AbstractEventLoop = protocol.loop
        self.connections: set[Any] = protocol.connections
        self.max_size: int | None = config.ws_max_size
        self.ping_interval = float(config.ws_ping_interval or math.inf)
        self.ping_timeout = float(config.ws_ping_timeout or math.inf)
        self._watched = False

    @classmethod
    def of(cls, protocol: Any) -> "UvicornServer":
        """Return the server to which this protocol object of uvicorn belongs."""
        if protocol.config not in cls._servers:
            cls._servers[protocol.config] = cls(protocol)
        return cls._servers[protocol.config]

    def replace(self, protocol: Any, wire: "UvicornWire") -> None:
        """Replace uvicorn's protocol object by the wire among the server's connections."""
        self.connections.discard(protocol)
        self.connections.add(wire)
        if not self._watched:
            self._watched = True
            self.loop.call_later(WATCH, self._watch)

    def _watch(self) -> None:
        """Let each wire do what is due, as one timer for all needs less memory than one for each."""
        wires = [each for each in self.connections if isinstance(each, UvicornWire)]
        now = self.loop.time()
        for wire in wires:
            wire.watch(now)
        self._watched = bool(wires)
        if wires:
            self.loop.call_later(WATCH, self._watch)


class UvicornWire(asyncio.Protocol):
    """A connection taken over from uvicorn after the handshake, so that uvicorn frees the memory it used for it.

    That memory held uvicorn's protocol object, a queue, the request's scope, and the application's task. This class
    does what uvicorn's protocol object did: it answers pings, finds pages that have vanished by pinging them, closes
    the connection properly, and shuts it down with the server.
    """

    __slots__ = ("_awaited", "_due", "_protocol", "_server", "_transport")

    def __init__(self, server: UvicornServer, transport: Any, protocol: MessageProtocol) -> None:
        self._server, self._transport, self._protocol = server, transport, protocol
        self._awaited: Literal["", "pong", "end"] = ""
        self._due = server.loop.time() + server.ping_interval * random.random()  # noqa: S311 - spreads the pings

    @classmethod
    def take_over(cls, uvicorns: Any) -> "UvicornWire | None":
        """Take the connection over from uvicorn's protocol object, or return None if that isn't possible.

        Call this right after the handshake is accepted, before anything from the page can have arrived. Raises
        AttributeError, and changes nothing, if this version of uvicorn lacks the private attributes.
        """
        transport, server = uvicorns.transport, UvicornServer.of(uvicorns)
        stop_keepalive, parser = uvicorns.stop_keepalive, uvicorns.conn.parser
        early = uvicorns.read_paused or not uvicorns.queue.empty()  # a message that came before the handshake's end
        if early or uvicorns.close_sent or not uvicorns.handshake_complete or transport.is_closing():
            return None
        wire = cls(server, transport, MessageProtocol(server.max_size, uvicorns.logger))
        stop_keepalive()
        parser.close()  # ends a reference cycle, which would keep uvicorn's memory until a garbage collection
        uvicorns.transport = Detached()
        transport.pause_reading()
        transport.set_protocol(wire)
        server.replace(uvicorns, wire)
        return wire

    async def serve(self, listener: Listener) -> None:
        """Pass messages to the listener from now on. Return at once, so that uvicorn ends the application's task."""
        self._protocol.listener = listener
        if self._protocol.state is State.CLOSED:
            listener.leave()
        else:
            self._transport.resume_reading()

    def write(self, messages: Messages) -> None:
        """Send messages without waiting."""
        if self._awaited != "end":
            self._transport.write(messages.frames)

    def unsent(self) -> int:
        """Return how many bytes for the page are still buffered in this process."""
        size: int = self._transport.get_write_buffer_size()
        return size

    def close(self, code: int) -> None:
        """Close the connection with a close code, for whose answer the page has CLOSE_SECONDS."""
        if self._protocol.state is State.OPEN:
            self._protocol.send_close(code)
            self._answer()

    def abort(self) -> None:
        """Drop the connection without waiting until the page has received the buffered messages."""
        self._transport.abort()

    def watch(self, now: float) -> None:
        """Ping the page if it was silent for long, or end the connection if the page doesn't answer in time.

        The server calls this every WATCH seconds with the event loop's time.
        """
        self._protocol.frames = 0
        if now < self._due:
            return
        if self._awaited == "end":
            self._transport.abort()
        elif self._awaited == "pong":
            self._protocol.fail(CloseCode.INTERNAL_ERROR, "keepalive ping timeout")
            self._answer()
        else:
            self._protocol.send_ping(b"")
            self._answer()
            self._awaited, self._due = "pong", now + self._server.ping_timeout

    def _answer(self) -> None:
        """Write the protocol's pings, pongs and close frames. End the connection once the protocol says so."""
        for data in self._protocol.data_to_send():
            if data == SEND_EOF:
                self._transport.close()
            else:
                self._transport.write(data)
        if self._protocol.state is not State.OPEN:
            self._await_end(CLOSE_SECONDS)

    def _await_end(self, seconds: float) -> None:
        if self._awaited != "end":
            self._awaited, self._due = "end", self._server.loop.time() + seconds

    # What the transport calls

    def data_received(self, data: bytes) -> None:
        """Pass the messages in the received bytes to the listener. Any byte proves that the page is still there."""
        if self._awaited != "end":
            self._awaited, self._due = "", self._server.loop.time() + self._server.ping_interval
        self._protocol.receive_data(data)
        self._answer()

    def connection_lost(self, _error: Exception | None) -> None:
        """Tell the listener that the connection has ended."""
        self._server.connections.discard(self)
        self._awaited = "end"
        if listener := self._protocol.end():
            listener.leave()

    # What uvicorn calls

    def shutdown(self) -> None:
        """Tell the page that the server restarts, and end the connection without waiting for the page's answer."""
        if self._protocol.state is State.OPEN:
            self._protocol.send_close(CloseCode.SERVICE_RESTART)
            self._answer()
        self._awaited, self._due = "end", self._server.loop.time() + SHUTDOWN_SECONDS
        self._transport.close()


class Detached:
    """Stands for the transport in a protocol object of uvicorn whose connection was taken over."""

    def close(self) -> None:
        """Do nothing. uvicorn calls this when the application's task ends."""


Wire = AsgiWire | UvicornWire


def wire_of(receive: Receive, send: Send) -> Wire:
    """Return the connection behind a server's callables, whose handshake has just been accepted."""
    try:
        if isinstance(send, functools.partial) and hasattr(send.args[0], "sendPreparedMessage"):
            return DaphneWire(receive, send, send.args[0])
        owner = getattr(send, "__self__", None)
        if type(owner).__name__ == "WebSocketsSansIOProtocol" and (wire := UvicornWire.take_over(owner)):
            return wire
    except (AttributeError, IndexError):
        pass
    return AsgiWire(receive, send)
