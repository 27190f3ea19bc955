"""`python -m payments_site.demo.proxy PORT WORKER...`: bytes from one port to whichever worker's port answers.

Only where nginx is missing. No HTTP proxy among the requirements passes WebSockets on, and Twisted's port forwarder
knows one destination and gives up when that one refuses.
"""

import asyncio
import sys
from contextlib import suppress

from payments_site.demo.process import HOST

CHUNK = 65536  # bytes


class Proxy:
    """Connections go to the workers in turn; one that refuses is passed over."""

    def __init__(self, workers: list[int]) -> None:
        self.workers, self.turn = workers, 0

    async def serve(self, client: asyncio.StreamReader, answer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            worker, ask = await self._connect()
            await asyncio.gather(carry(client, ask), carry(worker, answer))
        answer.close()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Raises ConnectionRefusedError when no worker is there."""
        self.turn = (self.turn + 1) % len(self.workers)
        for port in self.workers[self.turn :] + self.workers[: self.turn]:
            with suppress(OSError):
                return await asyncio.open_connection(HOST, port)
        raise ConnectionRefusedError("no worker answers")


async def carry(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    """Until the source ends; then the target is closed, which ends the way back as well."""
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
