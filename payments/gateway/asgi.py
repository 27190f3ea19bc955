"""ASGI application that answers Stripe's webhooks without Django's middleware, which only pages need.

For each HTTP request, Django's own handler starts a thread, opens a database connection and runs all middleware. This
application hands deliveries to the lane, whose thread keeps its database connection open.
"""

import re
import uuid
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from django.http import HttpResponse

from ..addresses import mounted_path, path_info
from ..logs import HEADER, new_id
from .lane import lane
from .signatures import LARGEST_BODY, Delivery
from .webhooks import refusal

ENDPOINT = r"(?:/(?P<endpoint>[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}))?/?"
LOCAL = "127.0.0.1"  # the client's address if the server listens on a Unix socket

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[Mapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


def webhook_app(pages: App) -> App:
    """Return an ASGI application that answers Stripe's webhooks and passes all other HTTP requests on to `pages`."""
    path = re.compile(re.escape(mounted_path("clinic:stripe_webhook").rstrip("/")) + ENDPOINT)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        is_post = scope["type"] == "http" and scope["method"] == "POST"
        found = path.fullmatch(path_info(scope)) if is_post else None
        if found is None:
            await pages(scope, receive, send)
            return
        request_id = new_id(dict(scope["headers"]).get(HEADER.lower().encode(), b"").decode("latin-1"))
        if (body := await read(receive)) is None:
            response = refusal(413)
        else:
            endpoint = uuid.UUID(found["endpoint"]) if found["endpoint"] else None
            delivery = Delivery(body, signature_of(scope), (scope.get("client") or [LOCAL])[0], endpoint)
            response = await lane.answer(delivery, request_id)
        await respond(response, request_id, send)

    return app


async def read(receive: Receive) -> bytes | None:
    """Return the HTTP request's body, or None if the body is larger than LARGEST_BODY bytes."""
    body = bytearray()
    while True:
        message = await receive()
        body += message.get("body", b"")
        if len(body) > LARGEST_BODY:
            return None
        if not message.get("more_body"):
            return bytes(body)


def signature_of(scope: Scope) -> str:
    """Return the value of the Stripe-Signature header; several such headers are joined with commas, as HTTP allows."""
    given = [value for name, value in scope["headers"] if name == b"stripe-signature"]
    return b",".join(given).decode("latin-1")


async def respond(response: HttpResponse, as_request: str, send: Send) -> None:
    """Send the response over ASGI, with the HTTP request's id (`as_request`) in a header."""
    headers = {**response.headers, "Content-Length": str(len(response.content)), HEADER: as_request}
    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": response.status_code, "headers": raw})
    await send({"type": "http.response.body", "body": response.content})
