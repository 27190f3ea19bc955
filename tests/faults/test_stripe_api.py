"""Tests with a Stripe API that hangs, breaks off or answers nonsense: calls soon raise StripeUnavailableError."""

import socketserver
import threading
import time
from collections.abc import Iterator

import pytest
from pytest_django.fixtures import Settings

from payments.gateway import client
from payments_site.demo.process import HOST

pytestmark = pytest.mark.faults

HEAD = "HTTP/1.1 {} Anything\r\nContent-Type: {}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{}"
PAGE = "<html>Checking your browser</html>"
ANSWERS = {
    "nothing, ever": None,
    "a line that breaks off": "",
    "half an answer": HEAD.format(200, "application/json", 1000, '{"id": "re_'),
    "a proxy's page": HEAD.format(200, "text/html", len(PAGE), PAGE),
    "a failure without words": HEAD.format(500, "application/json", 0, ""),
    "another failure": HEAD.format(503, "text/html", len(PAGE), PAGE),
    "too many requests": HEAD.format(429, "application/json", 2, "{}"),
    "json of another kind": HEAD.format(200, "application/json", 2, "[]"),
}


@pytest.fixture(params=ANSWERS)
def answering(request: pytest.FixtureRequest, settings: Settings) -> Iterator[None]:
    answer, over = ANSWERS[request.param], threading.Event()

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(65536)
            if answer is None:
                over.wait(100)
            else:
                self.request.sendall(answer.encode())

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        block_on_close = False

    with Server((HOST, 0), Handler) as server:
        settings.STRIPE_API_HOST = f"http://{HOST}:{server.server_address[1]}"
        threading.Thread(target=server.serve_forever, args=[0.02], daemon=True).start()
        yield
        over.set()
        server.shutdown()


@pytest.mark.usefixtures("answering")
def test_whatever_stripe_answers_it_is_unavailable_in_time() -> None:
    """For every bad answer, and if Stripe is silent, a call raises StripeUnavailableError within 30 s.

    The client waits 5 s for an answer and tries twice; the SDK's default is to wait 80 s.
    """
    began = time.monotonic()
    with pytest.raises(client.StripeUnavailableError):
        client.call(lambda client: client.v1.refunds.create({"payment_intent": "pi_1", "amount": 1}))
    assert time.monotonic() - began < 30  # also on a loaded machine
