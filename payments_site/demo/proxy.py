"""`python -m payments_site.demo.proxy PORT WORKER...` forwards TCP connections from PORT to the workers' ports.

The demo uses this proxy if nginx is not installed, because no HTTP proxy among the requirements forwards WebSockets,
and Twisted's port forwarder can forward to one destination only.
"""

import asyncio
import sys
from contextlib import suppress

from payments_site.demo.process import HOST

CHUNK = 65536  # bytes


class Proxy:
    """Distributes connections over the workers' ports in turn, and skips a worker that refuses a connection."""

    def __init__(self, workers: list[int]) -> None:
        self.workers, self.turn = workers, 0

    async def serve(self, client: asyncio.StreamReader, answer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            worker, ask = await self._connect()
            await asyncio.gather(copy(client, ask), copy(worker, answer))
        answer.close()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect to the next worker in turn, or to the first after it that accepts.

        Raises ConnectionRefusedError if no worker accepts.
        """
        self.turn = (self.turn + 1) % len(self.workers)
        for port in self.workers[self.turn :] + self.workers[: self.turn]:
            with suppress(OSError):
                return await asyncio.open_connection(HOST, port)
        raise ConnectionRefusedError("no worker answers")


async def copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    """Copy bytes until `source` ends, then close `target`, so that the copy in the other direction ends too."""
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
