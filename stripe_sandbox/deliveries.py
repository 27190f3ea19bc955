"""Signs and sends webhook requests, and records each endpoint's answers."""

import hashlib
import hmac
import json
import os
import time
from dataclasses import asdict, dataclass, field

import aiohttp

from stripe_sandbox.ids import token
from stripe_sandbox.store import Json

_TIMEOUT = aiohttp.ClientTimeout(total=20)
_BODY_KEPT = 500  # characters


@dataclass
class Attempt:
    at: float  # real Unix time
    duration_ms: int
    status: int | None = None  # None if nothing answered
    error: str | None = None
    body: str = ""

    @property
    def accepted(self) -> bool:
        """Return whether the endpoint answered with a 2xx status; a redirect counts as a failure, as at Stripe."""
        return self.status is not None and 200 <= self.status < 300


@dataclass
class Delivery:
    event: str
    type: str
    object: str
    endpoint: str
    url: str
    state: str = "pending"  # pending, held, retrying, delivered, failed, dropped
    created: float = field(default_factory=time.time)
    next_at: float | None = None  # real Unix time of the next attempt
    attempts: list[Attempt] = field(default_factory=list)
    id: str = field(default_factory=lambda: f"whd_{token(16)}")

    @property
    def waiting(self) -> bool:
        return self.state in ("pending", "held", "retrying")

    def as_json(self) -> Json:
        return asdict(self)


def from_json(found: Json) -> Delivery:
    return Delivery(**found | {"attempts": [Attempt(**attempt) for attempt in found["attempts"]]})


def encode(event: Json) -> bytes:
    """Return the event as JSON, indented as in Stripe's webhooks."""
    return json.dumps(event, indent=2).encode()


def signed_headers(body: bytes, secrets: list[str]) -> dict[str, str]:
    """Return a webhook's HTTP headers for `body`, signed with a v1 signature for each of `secrets`.

    As Stripe does in test mode, add a v0 signature, which receivers ignore. https://docs.stripe.com/webhooks/signature
    """
    now = int(time.time())
    signed = f"{now}.".encode() + body
    schemes = [("v1", secret) for secret in secrets] + [("v0", "whsec_not_a_secret")]
    parts = [f"{scheme}={hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()}" for scheme, secret in schemes]
    return {
        "Accept": "*/*; q=0.5, application/xml",
        "Cache-Control": "no-cache",
        "Content-Type": "application/json; charset=utf-8",
        "Stripe-Signature": ",".join([f"t={now}", *parts]),
        "User-Agent": "Stripe/1.0 (+https://stripe.com/docs/webhooks)",
    }


def _in_words(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)
    return f"{type(error).__name__} {error}".strip()


async def post(client: aiohttp.ClientSession, url: str, body: bytes, secrets: list[str]) -> Attempt:
    """POST the body once, signed with `secrets`, and return the Attempt. Its `error` is set if no answer came."""
    started, clock = time.time(), time.perf_counter()
    attempt = Attempt(at=started, duration_ms=0)
    try:
        headers = signed_headers(body, secrets)
        async with client.post(url, data=body, headers=headers, allow_redirects=False, timeout=_TIMEOUT) as answer:
            attempt.status = answer.status
            attempt.body = (await answer.content.read(_BODY_KEPT)).decode(errors="replace")
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        attempt.error = _in_words(error)
    attempt.duration_ms = round((time.perf_counter() - clock) * 1000)
    return attempt
