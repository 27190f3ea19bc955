"""A TCP proxy that can break connections in several ways, and the thread in which proxies and simulated pages run."""

import asyncio
import random
import socket
import struct
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, TypeVar

from payments_site.demo.process import HOST

T = TypeVar("T")
RESET_AT_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER: on, 0 s


class Background:
    """An event loop in its own thread; other threads `start` coroutines in it, or `run` one and await its result."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="chaos", daemon=True)
        self._thread.start()

    def start(self, work: Coroutine[Any, Any, T]) -> "Future[T]":
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.start(work).result(30)

    def stop(self) -> None:
        self.run(self._cancel_all())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _cancel_all(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class Connection:
    """A proxied connection; once `forgotten`, it stays open but carries no data, as after a laptop changes networks."""

    def __init__(self, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self.ends = (client, server)
        self.forgotten = False

    async def pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, proxy: "Proxy") -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                if not (self.forgotten or proxy.swallowing):
                    writer.write(data)
                    await writer.drain()
        if not self.forgotten:  # the other end must not notice a forgotten connection
            writer.close()

    def reset(self) -> None:
        for writer in self.ends:
            raw = writer.get_extra_info("socket")
            with suppress(OSError):
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_AT_CLOSE)
            writer.transport.abort()


class Proxy:
    """Forwards each connection to a random port of `backends`, or to another of these ports if that one refuses."""

    def __init__(self, background: Background, *backends: int) -> None:
        self.backends = list(backends)
        self.swallowing = False  # whether to discard the bytes of all connections, old and new
        self._background = background
        self._connections: set[Connection] = set()
        self._server = background.run(self._listen())
        self.port: int = self._server.sockets[0].getsockname()[1]

    async def _listen(self) -> asyncio.Server:
        return await asyncio.start_server(self._serve, HOST, 0, backlog=2048)

    def reset(self) -> None:
        """End all open connections with an RST."""
        self._background.run(self._on_all(Connection.reset))

    def forget(self) -> None:
        """Stop forwarding data on all open connections without closing them; later connections work normally."""

        def forget(connection: Connection) -> None:
            connection.forgotten = True

        self._background.run(self._on_all(forget))

    def close(self) -> None:
        self._server.close()
        self.reset()

    async def _on_all(self, act: Any) -> None:
        for connection in list(self._connections):
            act(connection)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream = await self._connect()
        if upstream is None:
            writer.transport.abort()
            return
        connection = Connection(writer, upstream[1])
        self._connections.add(connection)
        try:
            directions = ((reader, upstream[1]), (upstream[0], writer))
            await asyncio.gather(*(connection.pump(*direction, self) for direction in directions))
        finally:
            self._connections.discard(connection)
            for end in connection.ends:
                end.transport.abort()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        for port in random.sample(self.backends, len(self.backends)):
            with suppress(OSError):
                return await asyncio.open_connection(HOST, port)
        return None
