"""Makes signed webhook requests, as bytes, such as Stripe would send about a payment."""

import hashlib
import hmac
import json
import time
import uuid
from dataclasses import dataclass

HOST = "127.0.0.1"
SECRET = "whsec_" + "b" * 32
ACCOUNT = "acct_1Benchmark"
API_KEY = "sk_test_" + "b" * 24
SITE = "00000000-0000-4000-8000-00000000be4c"  # the site's id in Stripe's metadata
AMOUNT, CURRENCY = 5000, "eur"


@dataclass(frozen=True, slots=True)
class Post:
    """A webhook request as bytes, and its payment's id (`key`), which WebSocket frames about the event contain."""

    key: str
    request: bytes


def payment_id(number: int) -> str:
    return str(uuid.UUID(hashlib.md5(f"payment-{number}".encode()).hexdigest()))  # noqa: S324 as PostgreSQL's md5()


def session_key(person: int) -> str:
    return f"benchmarksession{person:016}"  # letters and digits, as in real keys


def session_object(key: str) -> dict[str, object]:
    """Return Stripe's JSON of a paid Checkout Session for the payment `key`. The session's id contains `key`."""
    tag = key.replace("-", "")
    return {
        "id": f"cs_test_{tag}", "object": "checkout.session", "created": int(time.time()) - 60, "currency": CURRENCY,
        "livemode": False, "metadata": {"site": SITE, "payment_id": key, "attempt": "A"}, "status": "complete",
        "mode": "payment", "payment_status": "paid", "amount_total": AMOUNT, "amount_subtotal": AMOUNT,
        "payment_intent": f"pi_{tag}", "customer": None, "customer_email": None, "client_reference_id": key,
        "locale": "fr", "url": None, "payment_method_types": ["card"], "success_url": "https://clinic.example/ok",
        "cancel_url": "https://clinic.example/no", "expires_at": int(time.time()) + 1800, "subscription": None,
    }  # fmt: skip


def completed(key: str) -> dict[str, object]:
    return {
        "id": f"evt_{uuid.uuid4().hex}", "object": "event", "api_version": "2026-08-26.dahlia",
        "created": int(time.time()), "livemode": False, "pending_webhooks": 1,
        "request": {"id": None, "idempotency_key": None}, "type": "checkout.session.completed",
        "data": {"object": session_object(key)},
    }  # fmt: skip


def signature(body: bytes) -> str:
    """Return the body's Stripe-Signature header: https://docs.stripe.com/webhooks#verify-manually"""
    stamp = int(time.time())
    digest = hmac.new(SECRET.encode(), f"{stamp}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={stamp},v1={digest}"


def post(number: int, path: str, port: int) -> Post:
    """Return a signed webhook request with an event `checkout.session.completed` for payment `number`.

    Sites accept this request for five minutes, the age limit of Stripe's signatures.
    """
    key = payment_id(number)
    body = json.dumps(completed(key)).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {HOST}:{port}\r\nContent-Type: application/json; charset=utf-8\r\n"
        f"Stripe-Signature: {signature(body)}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return Post(key, head.encode() + body)
