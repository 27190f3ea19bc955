"""`python -m payments_site.demo.proxy PORT WORKER...` forwards TCP connections from PORT to the workers' ports.

It is used only if nginx is not installed. No HTTP proxy among the requirements forwards WebSockets, and Twisted's port
forwarder has a single destination.
"""

import asyncio
import sys
from contextlib import suppress

from payments_site.demo.process import HOST

CHUNK = 65536  # bytes


class Proxy:
    """Distributes connections over the workers in turn, skipping workers that refuse them."""

    def __init__(self, workers: list[int]) -> None:
        self.workers, self.turn = workers, 0

    async def serve(self, client: asyncio.StreamReader, answer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            worker, ask = await self._connect()
            await asyncio.gather(copy(client, ask), copy(worker, answer))
        answer.close()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect to the next worker that accepts. Raises ConnectionRefusedError if none does."""
        self.turn = (self.turn + 1) % len(self.workers)
        for port in self.workers[self.turn :] + self.workers[: self.turn]:
            with suppress(OSError):
                return await asyncio.open_connection(HOST, port)
        raise ConnectionRefusedError("no worker answers")


async def copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    """Copy bytes until the source ends, then close the target, which ends the opposite direction as well."""
    try:
        while chunk := await source.read(CHUNK):
            target.write(chunk)
            await target.drain()
    finally:
        target.close()


async def main(port: int, *workers: int) -> None:
    server = await asyncio.start_server(Proxy(list(workers)).serve, HOST, port, backlog=2048)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(*map(int, sys.argv[1:])))
