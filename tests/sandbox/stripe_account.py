"""A client of the sandbox: it calls the API through Stripe's SDK, sends control commands, and receives webhooks."""

import json
import subprocess
import sys
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import stripe

from tests.waits import wait_until

SECRET = "whsec_sandbox_tests"
KEY = "sk_test_" + "a" * 24

Json = dict[str, Any]


@dataclass
class Receiver:
    """Collects the webhooks that arrive; answers each with the next status in `answers`, or with 200 if none is left.

    A webhook with a wrong signature is answered with 400 and noted in `forged`.
    """

    secret: str = SECRET
    events: list[stripe.Event] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    forged: list[str] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    url: str = ""

    def take(self, body: bytes, headers: dict[str, str]) -> int:
        try:
            event = stripe.Webhook.construct_event(body, headers["Stripe-Signature"], self.secret)
        except stripe.SignatureVerificationError as error:
            self.forged.append(str(error))
            return 400
        self.headers.append(headers)
        self.events.append(event)
        return self.answers.pop(0) if self.answers else 200

    @property
    def types(self) -> list[str]:
        return [event.type for event in list(self.events)]

    def of(self, event_type: str) -> list[Any]:
        return [event.data.object for event in list(self.events) if event.type == event_type]


@contextmanager
def receiving(receiver: Receiver) -> Iterator[Receiver]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status = receiver.take(body, dict(self.headers))
            self.send_response(status)
            if 300 <= status < 400:
                self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args: object) -> None:
            """Log nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=[0.02], daemon=True).start()
    receiver.url = f"http://127.0.0.1:{server.server_port}/webhook/"
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def running(*options: str) -> Iterator[str]:
    """Run a sandbox process with these options and yield its URL."""
    command = [sys.executable, "-m", "stripe_sandbox", "--port", "0", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().split()[1]
        finally:
            process.terminate()
            process.wait(timeout=60)


class Refused(Exception):
    """Raised if the sandbox's control API answers with an error: `status` is the HTTP status, `answer` the JSON."""

    def __init__(self, status: int, answer: Json) -> None:
        super().__init__(f"{status} {answer}")
        self.status, self.answer = status, answer


@dataclass
class StripeAccount:
    url: str
    receiver: Receiver

    @property
    def client(self) -> stripe.StripeClient:
        return stripe.StripeClient(KEY, base_addresses={"api": self.url}, max_network_retries=0)

    @property
    def v1(self) -> Any:
        return self.client.v1

    def control(self, act: str, **body: Any) -> Json:
        request = urllib.request.Request(f"{self.url}/_sandbox/{act}", json.dumps(body).encode())
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                found: Json = json.load(answer)
                return found
        except urllib.error.HTTPError as error:
            raise Refused(error.code, json.load(error)) from None

    def deliveries(self, **wanted: str) -> list[Json]:
        query = urllib.parse.urlencode(wanted)
        with urllib.request.urlopen(f"{self.url}/_sandbox/deliveries?{query}", timeout=60) as answer:
            found: list[Json] = json.load(answer)["data"]
            return found

    def get(self, path: str) -> Json:
        """GET /v1/<path> and return the JSON as plain dicts and lists, not as objects of the SDK."""
        request = urllib.request.Request(f"{self.url}/v1/{path}", headers={"Authorization": f"Bearer {KEY}"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            found: Json = json.load(answer)
            return found

    def session(self, amount: int = 6000, currency: str = "eur", **more: Any) -> Any:
        """Create a Checkout Session for a consultation that costs `amount` minor units; `more` adds API parameters."""
        price = {"currency": currency, "unit_amount": amount, "product_data": {"name": "Consultation"}}
        return self.v1.checkout.sessions.create(
            {
                "mode": "payment",
                "line_items": [{"price_data": price, "quantity": 1}],
                "success_url": "http://127.0.0.1:1/done?session={CHECKOUT_SESSION_ID}",
                "cancel_url": "http://127.0.0.1:1/back",
                "metadata": {"payment": "p_1"},
                "payment_intent_data": {"metadata": {"payment": "p_1"}},
                "payment_method_types": ["card", "sepa_debit"] if currency == "eur" else ["card"],
            }
            | more
        )

    def paid(self, amount: int = 6000, currency: str = "eur", **how: Any) -> Json:
        """Create a session and pay it; return the control API's answer, {session, payment_intent, error}.

        `how` are parameters of the control API's "pay" command, for example outcome="declined".
        """
        return self.control("pay", session=self.session(amount, currency).id, **how)

    def wait_for(self, *types: str) -> None:
        """Wait until the receiver has got an event of each of these types."""
        wait_until(lambda: set(types) <= set(self.receiver.types), f"{', '.join(types)} are delivered")
