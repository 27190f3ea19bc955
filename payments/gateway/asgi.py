"""ASGI application that answers Stripe's webhooks without Django's middleware, which only pages need.

For each HTTP request, Django's own handler starts a thread, opens a database connection and runs all middleware. This
application has a few threads, which keep their database connections open.
"""

import asyncio
import re
import threading
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from django.db import DatabaseError, connection
from django.http import HttpResponse

from ..logs import HEADER, new_id, request_id
from .signatures import LARGEST_BODY, Delivery
from .webhooks import answer, refusal

PATH = re.compile(r"/stripe/webhook(?:/(?P<endpoint>[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}))?/?")
THREADS = 4
LOCAL = "127.0.0.1"  # the client's address if the server listens on a Unix socket
IDLE = 1.0  # seconds without use after which a connection is tested before it is used again

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[Mapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_threads = ThreadPoolExecutor(THREADS, "webhook")
_last = threading.local()


def webhook_app(pages: App) -> App:
    """Return an ASGI application that answers Stripe's webhooks and passes all other HTTP requests on to `pages`."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        found = PATH.fullmatch(scope["path"]) if scope["method"] == "POST" else None
        if found is None:
            await pages(scope, receive, send)
            return
        response, headers = refusal(413), dict(scope["headers"])
        request_id = new_id(headers.get(HEADER.lower().encode(), b"").decode("latin-1"))
        if (body := await read(receive)) is not None:
            endpoint = uuid.UUID(found["endpoint"]) if found["endpoint"] else None
            delivery = Delivery(body, signature_of(scope), (scope.get("client") or [LOCAL])[0], endpoint)
            response = await asyncio.get_running_loop().run_in_executor(_threads, answered, delivery, request_id)
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


def answered(delivery: Delivery, as_request: str) -> HttpResponse:
    """Return the response to a webhook delivery: 5xx if handling the delivery fails, so that Stripe retries.

    Runs in a worker thread. `as_request` is the HTTP request's id, for the log lines.
    """
    request_id.set(as_request)
    if connection.connection is not None and time.monotonic() - _last.used > IDLE and not connection.is_usable():
        connection.close()
    try:
        return answer(delivery)
    except DatabaseError:
        connection.close()
        return HttpResponse("The database is not available, send it again.", status=503, content_type="text/plain")
    except Exception:  # noqa: BLE001 `answer` has logged it
        return HttpResponse("Applying it failed, send it again.", status=500, content_type="text/plain")
    finally:
        _last.used = time.monotonic()


async def respond(response: HttpResponse, as_request: str, send: Send) -> None:
    """Send the response over ASGI, with the HTTP request's id (`as_request`) in a header."""
    headers = {**response.headers, "Content-Length": str(len(response.content)), HEADER: as_request}
    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": response.status_code, "headers": raw})
    await send({"type": "http.response.body", "body": response.content})
