"""A minimal server for comparison, which does only what any solution must do, so that no site can be faster.

`python -m benchmarks.floor PORT REDIS_URL FRAME_BYTES` publishes each POST's payment id through Redis. It sends each
message from Redis to every socket, as a frame that is built once. The server stores, verifies and renders nothing. It
uses asyncio protocols on uvloop.
"""

import asyncio
import base64
import hashlib
import re
import sys

import redis.asyncio
import uvloop

from benchmarks.events import HOST

MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
KEY = re.compile(rb'"payment_id": "([0-9a-f-]{36})"')
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

sockets: set[asyncio.Transport] = set()
publisher: "redis.asyncio.Redis"
pending: set[asyncio.Task[None]] = set()


def frame(text: bytes) -> bytes:
    size = len(text)
    return (bytes((0x81, size)) if size < 126 else b"\x81\x7e" + size.to_bytes(2, "big")) + text


class Connection(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]
        self.received = b""

    def connection_lost(self, exc: Exception | None) -> None:
        sockets.discard(self.transport)

    def data_received(self, data: bytes) -> None:
        if self.transport in sockets:
            return
        self.received += data
        head, found, body = self.received.partition(b"\r\n\r\n")
        if not found:
            return
        if head.startswith(b"GET"):
            self.upgrade(head)
        elif len(body) >= int(re.search(rb"Content-Length: (\d+)", head)[1]):  # type: ignore[index]
            self.received = b""
            task = asyncio.ensure_future(self.publish(KEY.search(body)[1]))  # type: ignore[index]
            pending.add(task)
            task.add_done_callback(pending.discard)

    def upgrade(self, head: bytes) -> None:
        key = re.search(rb"Sec-WebSocket-Key: (\S+)", head)[1]  # type: ignore[index]
        accept = base64.b64encode(hashlib.sha1(key + MAGIC).digest())  # noqa: S324 RFC 6455
        lines = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        self.transport.write(lines + b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n" + frame(b'{"t":"hello","seq":0}'))
        sockets.add(self.transport)

    async def publish(self, key: bytes) -> None:
        await publisher.publish("floor", key)
        self.transport.write(ANSWER)


async def broadcast(subscriber: "redis.asyncio.client.PubSub", size: int) -> None:
    async for message in subscriber.listen():
        if message["type"] == "message":
            text = b'{"payment_id": "' + message["data"] + b'"}'
            prepared = frame(text.ljust(size))
            for transport in sockets:
                transport.write(prepared)


async def serve(port: int, redis_url: str, size: int) -> None:
    global publisher
    publisher = redis.asyncio.from_url(redis_url)
    subscriber = publisher.pubsub()
    await subscriber.subscribe("floor")
    server = await asyncio.get_running_loop().create_server(Connection, HOST, port, backlog=2048)
    await asyncio.gather(server.serve_forever(), broadcast(subscriber, size))


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
