"""Answers Stripe's API (/v1/...): checks the key, injects faults, replays idempotent requests and expands ids."""

import base64
import binascii
import copy
import email.utils
import hashlib
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from aiohttp import web

from stripe_sandbox import expand, forms, versions
from stripe_sandbox.errors import StripeError
from stripe_sandbox.faults import Fault
from stripe_sandbox.ids import token
from stripe_sandbox.sandbox import Sandbox, current_request, webhooks_lost
from stripe_sandbox.store import Json

Call = Callable[[Sandbox, Json, str], Json]  # (sandbox, parameters, id from the path) -> answer

_MAX_KEYS = 10_000
# Stripe keeps a key for at least 24 hours; this sandbox, for exactly 24. https://docs.stripe.com/api/idempotent_requests
_KEY_SECONDS = 86_400
_TEST_KEYS = ("sk_test_", "rk_test_")


@dataclass(frozen=True)
class Answer:
    """The stored answer to a request with an idempotency key; a repeated request gets it again.

    `fingerprint` is made from the request's path and parameters, to notice another request with the same key.
    """

    at: int  # on Stripe's clock, Unix seconds
    fingerprint: str
    status: int
    body: Json


@dataclass
class Api:
    sandbox: Sandbox
    fault: Fault = field(default_factory=Fault)
    answered: dict[str, Answer] = field(default_factory=dict)  # by idempotency key

    def handler(self, call: Call) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def handle(request: web.Request) -> web.Response:
            return await self.answer(request, call)

        return handle

    async def answer(self, request: web.Request, call: Call) -> web.Response:
        request_id = f"req_{token(14)}"
        try:
            self.check_key(request)
            fault = self.fault if self.fault.affects(request.method, request.path) else None
            if fault and not fault.processed:
                await fault.fail(request)
            lost = webhooks_lost.set(fault is not None and fault.drop_webhooks)
            try:
                status, body, headers = await self._run(request, call, request_id)
            finally:
                webhooks_lost.reset(lost)  # the connection's next request runs in this context too
            if fault:
                await fault.fail(request)
        except StripeError as error:
            status, body, headers = error.status, error.body(request_id), dict(error.headers)
        headers |= {
            "Date": email.utils.formatdate(self.sandbox.now(), usegmt=True),  # compared with events' `created`
            "Request-Id": request_id,
            "Stripe-Version": request.headers.get("Stripe-Version", self.sandbox.api_version),
        }
        text = json.dumps(body, indent=2)
        return web.Response(text=text, status=status, content_type="application/json", headers=headers)

    def check_key(self, request: web.Request) -> None:
        """Raise StripeError with status 401 unless the request has the API key that the sandbox was started with.

        If it was started without a key, accept any test key.
        """
        key = _key_of(request)
        if not key:
            message = (
                "You did not provide an API key. You need to provide your API key in the Authorization header, "
                "using Bearer auth (e.g. 'Authorization: Bearer YOUR_SECRET_KEY')."
            )
            raise StripeError(message, status=401)
        wanted = self.sandbox.settings.api_key
        if key != wanted if wanted else not key.startswith(_TEST_KEYS):
            shown = f"{key[:8]}{'*' * 8}{key[-4:]}"
            raise StripeError(f"Invalid API Key provided: {shown}", status=401)

    async def _run(self, request: web.Request, call: Call, request_id: str) -> tuple[int, Json, dict[str, str]]:
        params = await _params(request)
        key = request.headers.get("Idempotency-Key") if request.method == "POST" else None
        fingerprint = _fingerprint(request.path, params)
        earlier = self.answered.get(key) if key else None
        if key and earlier and self.sandbox.now() - earlier.at < _KEY_SECONDS:
            return self._replay(key, fingerprint, earlier)
        current_request.set({"id": request_id, "idempotency_key": key})
        try:
            object_id = request.match_info.get("id", "")
            version = versions.checked(request.headers.get("Stripe-Version", self.sandbox.api_version))
            found = expand.expanded(self.sandbox, call(self.sandbox, params, object_id), params)
            status, body = 200, versions.rendered(self.sandbox, found, version)
        except StripeError as error:
            status, body = error.status, error.body(request_id)
        self.sandbox.changed = self.sandbox.changed or request.method != "GET"
        if not key:
            return status, body, {}
        # Stripe stores no answer for a request that it refused before executing it.
        if status in (200, 402):
            self._keep(key, fingerprint, status, body)
        return status, body, {"Idempotency-Key": key, "Original-Request": request_id}

    def _replay(self, key: str, fingerprint: str, earlier: Answer) -> tuple[int, Json, dict[str, str]]:
        if earlier.fingerprint != fingerprint:
            raise StripeError(
                "Keys for idempotent requests can only be used with the same parameters they were first used with. "
                f"Try using a key other than '{key}' if you meant to execute a different request.",
                type="idempotency_error",
            )
        return earlier.status, earlier.body, {"Idempotency-Key": key, "Idempotent-Replayed": "true"}

    def _keep(self, key: str, fingerprint: str, status: int, body: Json) -> None:
        # The body is copied, because the object may change later.
        self.answered[key] = Answer(self.sandbox.now(), fingerprint, status, copy.deepcopy(body))
        while len(self.answered) > _MAX_KEYS:
            del self.answered[next(iter(self.answered))]


def _key_of(request: web.Request) -> str:
    scheme, _, value = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return value if scheme.lower() == "bearer" else ""
    try:
        return base64.b64decode(value).decode().partition(":")[0]
    except (binascii.Error, UnicodeDecodeError):
        return ""


async def _params(request: web.Request) -> Json:
    pairs = list(request.query.items())
    if request.method == "POST":
        form = await request.post()
        pairs += [(name, value) for name, value in form.items() if isinstance(value, str)]
    return forms.decode(pairs)


def _fingerprint(path: str, params: Json) -> str:
    return hashlib.sha256(json.dumps([path, params], sort_keys=True).encode()).hexdigest()
