"""Tests that money is refunded only once, and within each user's limit, when many users ask for it at once."""

import json
import os
import random
import threading
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

import pytest
from django.db import connection
from django.test import Client
from pytest_django.fixtures import Settings

from accounts.models import User
from payments.desk.giving_back import give_back
from payments.desk.refund_orders import Order
from payments.gateway.client import StripeUnavailableError
from payments.gateway.refunds import NotRefundableError
from payments.models import Payment
from payments_site.demo.process import HOST
from tests.payments.clients import client_of, desk_page_of, signed_in
from tests.payments.stripe_story import Story, deliver

RACES = int(os.environ.get("REFUND_RACES", "30"))
AT_ONCE = 4


class Bank:
    """A fake Stripe that grants every refund, even a double one; `given` sums up the refunded cents by PaymentIntent.

    It grants every seventh refund, too, but answers 500, so that the site doesn't know whether it was granted.
    """

    def __init__(self) -> None:
        self.given: dict[str, int] = defaultdict(int)  # refunded cents by PaymentIntent
        self.by_key: dict[str, dict[str, Any]] = {}
        self.lost: set[str] = set()
        self.turn = threading.Lock()

    def refund(self, key: str, asked: dict[str, str]) -> tuple[int, dict[str, Any]]:
        with self.turn:
            if key not in self.by_key:
                intent, amount = asked["payment_intent"], int(asked["amount"])
                self.given[intent] += amount
                self.by_key[key] = {
                    "id": f"re_{uuid.uuid4().hex}", "object": "refund", "status": "succeeded", "amount": amount,
                    "currency": "eur", "payment_intent": intent, "charge": None, "created": 1,
                    "metadata": {"refund_request": asked["metadata[refund_request]"]},
                }  # fmt: skip
                if len(self.by_key) % 7 == 0:
                    self.lost.add(key)
                    return 500, {"error": {"type": "api_error"}}
            return 200, self.by_key[key]


@pytest.fixture
def bank(settings: Settings) -> Iterator[Bank]:
    bank = Bank()

    class Api(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
            status, said = bank.refund(
                self.headers["Idempotency-Key"], {name: value[0] for name, value in form.items()}
            )
            body = json.dumps(said).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 http.server's name
            pass

    server = ThreadingHTTPServer((HOST, 0), Api)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=[0.02], daemon=True).start()
    settings.STRIPE_API_HOST = f"http://{HOST}:{server.server_port}"
    yield bank
    server.shutdown()
    server.server_close()


@pytest.mark.postgres(only=True)
@pytest.mark.django_db(transaction=True)
def test_no_refund_is_given_twice_however_many_ask_at_once(
    book: Callable[..., Payment], bank: Bank, clerk: User
) -> None:
    start = threading.Barrier(AT_ONCE)

    def ask(payment: Payment, amount: int, key: str) -> str:
        try:
            start.wait(30)
            give_back(payment, Order(amount, "duplicate"), clerk, key=key)
        except NotRefundableError:
            return "refused"
        except StripeUnavailableError:
            return "unknown"
        else:
            return "given"
        finally:
            connection.close()

    chance = random.Random(5)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for race in range(RACES):
            payment = book()
            story = Story(payment)
            deliver(story.succeeded())
            amount = chance.choice([5000, 5000, 3000, 2501])
            one_form = race % 2  # a form that is sent several times has one key, several tabs have one each
            keys = [uuid.uuid4().hex] * AT_ONCE if one_form else [uuid.uuid4().hex for _ in range(AT_ONCE)]
            said = list(pool.map(ask, [payment] * AT_ONCE, [amount] * AT_ONCE, keys))
            assert bank.given[story.intent("A", "succeeded")["id"]] == amount, said
            assert said.count("refused") == (0 if one_form else AT_ONCE - 1)
            payment.refresh_from_db()
            assert (payment.amount_refunded, payment.amount_refund_pending) == (amount, 0)
    assert len(bank.by_key) == RACES
    assert bank.lost


def post_at_once(clients: list[Client], url: str, forms: list[dict[str, str]]) -> list[int]:
    """POST each form with its client, all at one moment, and return the HTTP statuses of the responses."""
    start = threading.Barrier(len(forms))

    def post(client: Client, form: dict[str, str]) -> int:
        try:
            start.wait(30)
            return client.post(url, form).status_code
        finally:
            connection.close()

    with ThreadPoolExecutor(len(forms)) as pool:
        return list(pool.map(post, clients, forms))


def refund_of(amount: str) -> dict[str, str]:
    """Return the fields of a confirmed refund form of this amount, with a new key (a form counts once per key)."""
    key = uuid.uuid4().hex
    return {"amount": amount, "through": "stripe", "reason": "duplicate", "confirmed": "1", "key": key}


@pytest.mark.postgres(only=True)
@pytest.mark.django_db(transaction=True)
def test_six_refunds_at_once_stay_within_a_clerks_limit(
    book: Callable[..., Payment], bank: Bank, clerk: User, settings: Settings
) -> None:
    settings.CLINIC_FRONT_DESK_REFUND_LIMITS = {"eur": 10000}
    payment = book(30000)
    deliver(Story(payment).succeeded())
    forms = [refund_of("49") for _ in range(6)]
    said = post_at_once([client_of(clerk, "front desk") for _ in forms], f"{desk_page_of(payment)}refund/", forms)
    payment.refresh_from_db()
    assert sum(bank.given.values()) == payment.amount_refunded == 2 * 4900
    assert sorted(said) == [302, 302, 422, 422, 422, 422]


@pytest.mark.postgres(only=True)
@pytest.mark.django_db(transaction=True)
def test_two_approvals_at_once_stay_within_each_persons_limit(
    book: Callable[..., Payment], bank: Bank, settings: Settings
) -> None:
    settings.CLINIC_FRONT_DESK_REFUND_LIMITS, settings.CLINIC_REFUND_APPROVAL_LIMITS = {"eur": 10000}, {"eur": 3000}
    payment = book(30000)
    deliver(Story(payment).succeeded())
    forms = [refund_of("60"), refund_of("60")]
    books = signed_in("books", "accountant")
    assert [books.post(f"{desk_page_of(payment)}refund/", form).status_code for form in forms] == [302, 302]
    assert not bank.given
    approvals = [{"key": form["key"], "approve": "1"} for form in forms]
    clerks = [signed_in(f"desk{number}", "front desk") for number in range(2)]
    post_at_once(clerks, f"{desk_page_of(payment)}refund/approve/", approvals)
    payment.refresh_from_db()
    assert sum(bank.given.values()) == payment.amount_refunded == 6000
