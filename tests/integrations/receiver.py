"""A receiver of webhooks for tests: it records each request, and fails in the ways that receivers fail."""

import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from standardwebhooks.webhooks import Webhook

from payments_site.demo.process import HOST


@dataclass
class Received:
    """One request: its headers with lower-case names, and its body as text."""

    headers: dict[str, str]
    body: str
    began: float
    ended: float = 0.0

    @property
    def message(self) -> dict[str, Any]:
        parsed: dict[str, Any] = json.loads(self.body)
        return parsed

    @property
    def data(self) -> dict[str, Any]:
        data: dict[str, Any] = self.message["data"]
        return data

    def verify(self, secret: str) -> None:
        """Raise WebhookVerificationError if no signature is of this secret."""
        Webhook(secret).verify(self.body, self.headers)


Behaviour = Callable[["Handler"], None]


class Handler(BaseHTTPRequestHandler):
    """Reads a request, lets the receiver's behaviour answer it, and records it if it was answered."""

    protocol_version = "HTTP/1.1"
    server: "Server"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        headers = {name.lower(): value for name, value in self.headers.items()}
        received = Received(headers, body, time.monotonic())
        self.server.receiver.requests.append(received)
        try:
            self.server.receiver.next_behaviour()(self)
        except OSError:
            self.close_connection = True
        received.ended = time.monotonic()

    def answer(self, status: int, body: bytes = b"", headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 http.server's name
        pass


class Server(ThreadingHTTPServer):
    receiver: "Receiver"
    daemon_threads = True


@dataclass
class Receiver:
    """A running receiver. `behaviours` answer the next requests, one each; then `usual` answers."""

    url: str
    requests: list[Received] = field(default_factory=list)
    behaviours: list[Behaviour] = field(default_factory=list)
    usual: Behaviour = field(default_factory=lambda: answers(204))

    def next_behaviour(self) -> Behaviour:
        return self.behaviours.pop(0) if self.behaviours else self.usual

    def told(self) -> list[tuple[str, int]]:
        """Return (type, number) of each request about a payment, in the order of arrival."""
        return [(each.message["type"], each.data["seq"]) for each in self.requests if "payment_id" in each.data]


def answers(status: int, body: bytes = b"", headers: Mapping[str, str] | None = None) -> Behaviour:
    return lambda handler: handler.answer(status, body, headers)


def hangs_up(handler: Handler) -> None:
    handler.close_connection = True


def hangs(seconds: float) -> Behaviour:
    return lambda handler: time.sleep(seconds)


def drips(head: bytes, pause: float) -> Behaviour:
    """Return a behaviour that sends `head`, then one byte after each pause (in seconds), until nobody reads."""

    def drip(handler: Handler) -> None:
        handler.wfile.write(head)
        while True:
            handler.wfile.write(b"x")
            time.sleep(pause)

    return drip


def floods(handler: Handler) -> None:
    """Answer 200 with as much as is read."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\n")
    while True:
        handler.wfile.write(b"y" * 65536)


@contextmanager
def receiving(tls: ssl.SSLContext | None = None) -> Iterator[Receiver]:
    server = Server((HOST, 0), Handler)
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    scheme = "https" if tls else "http"
    receiver = server.receiver = Receiver(f"{scheme}://{HOST}:{server.server_port}/hook")
    threading.Thread(target=server.serve_forever, args=[0.02], daemon=True).start()  # polls every 0.02 s
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()
