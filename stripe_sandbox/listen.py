"""Serves the Stripe CLI's `stripe listen`: sends events over a WebSocket (subprotocol stripecli-devproxy-v1)."""

import asyncio
import contextlib
import json
import time
from dataclasses import dataclass, field

from aiohttp import WSMsgType, web

from stripe_sandbox import API_VERSION, versions
from stripe_sandbox.deliveries import Attempt, Delivery, encode, signed_headers
from stripe_sandbox.ids import token
from stripe_sandbox.sandbox import Sandbox
from stripe_sandbox.store import Json
from stripe_sandbox.webhooks import Webhooks

_PROTOCOL = "stripecli-devproxy-v1"
_MAX_SENT = 2_000  # events whose answer is awaited, each in two versions


@dataclass
class Listeners:
    sandbox: Sandbox
    webhooks: Webhooks
    sockets: set[web.WebSocketResponse] = field(default_factory=set)
    sent: dict[str, tuple[Json, float]] = field(default_factory=dict)  # by conversation id: (event, when it was sent)

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/_stripecli/{id}", self.subscribe)]

    @property
    def secret(self) -> str:
        """Return the webhook signing secret for the Stripe CLI, which is the same in all CLI sessions, as at Stripe."""
        kept = self.sandbox.store.private.setdefault(self.sandbox.account["id"], {})
        return str(kept.setdefault("cli_secret", f"whsec_{token(64)}"))

    def create_session(self, sandbox: Sandbox, given: Json, _: str) -> Json:
        """Answer POST /v1/stripecli/sessions, which the CLI calls to listen for events.

        The answer names the WebSocket's URL and the secret with which its events are signed.
        """
        session_id = f"cliws_{token(16)}"
        return {
            "default_version": sandbox.api_version,
            "device_token": "",
            "display_connect_filter_warning": False,
            "latest_version": API_VERSION,
            "reconnect_delay": 86_400,  # seconds between the CLI's planned reconnections
            "secret": self.secret,
            "websocket_authorized_feature": (given.get("websocket_features") or ["webhooks"])[0],
            "websocket_id": session_id,
            "websocket_url": f"{sandbox.settings.public_url.replace('http', 'ws', 1)}/_stripecli/{session_id}",
        }

    async def subscribe(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(protocols=[_PROTOCOL])
        await socket.prepare(request)
        self.sockets.add(socket)
        try:
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    self._heard(json.loads(message.data))
        finally:
            self.sockets.discard(socket)
        return socket

    def on_event(self, event: Json) -> None:
        """Send the event to the Stripe CLI in the account's API version and in the newest; a CLI uses one of them."""
        if not self.sockets:
            return
        for endpoint_version, version in ((None, self.sandbox.api_version), (API_VERSION, API_VERSION)):
            if versions.is_sent(event["type"], version):
                versions.event_in(self.sandbox, event, version)  # as it is at this moment
                told = self._tell(event, endpoint_version, version)
                # The running request may still change the event, so the event is sent in the event loop's next turn.
                asyncio.get_running_loop().call_soon(self.webhooks.spawn, told)

    async def _tell(self, event: Json, endpoint_version: str | None, version: str) -> None:
        """Send the event, rendered in the API version `version`, to all Stripe CLIs that listen.

        `endpoint_version` is what the CLI's protocol calls this version: None for the account's version.
        """
        body, conversation = encode(versions.event_in(self.sandbox, event, version)), f"wc_{token(16)}"
        self.sent[conversation] = (event, time.time())
        while len(self.sent) > _MAX_SENT:
            del self.sent[next(iter(self.sent))]
        frame = {
            "endpoint": {"api_version": endpoint_version},
            "event_payload": body.decode(),
            "http_headers": signed_headers(body, [self.secret]),
            "type": "webhook_event",
            "webhook_conversation_id": conversation,
            "webhook_id": f"wh_{token(16)}",
        }
        for socket in list(self.sockets):
            with contextlib.suppress(ConnectionError):
                await socket.send_json(frame)

    def _heard(self, message: Json) -> None:
        """Record a delivery when the CLI's `message` reports how the site answered an event; ignore other messages."""
        if message.get("type") != "webhook_response" or message.get("webhook_conversation_id") not in self.sent:
            return
        event, at = self.sent[message["webhook_conversation_id"]]
        answer = Attempt(at, round((time.time() - at) * 1000), message["status"], body=message["body"][:500])
        subject = str(event["data"]["object"].get("id", ""))
        state = "delivered" if answer.accepted else "failed"
        forwarded = Delivery(event["id"], event["type"], subject, "stripe listen", message["forward_url"], state)
        forwarded.attempts.append(answer)
        self.webhooks.keep(forwarded)
