"""Bounds how large an HTTP request may be and how long its body may take, also where no nginx stands in front."""

import asyncio
import logging
from collections.abc import Mapping
from typing import Any, NoReturn

from django.core.exceptions import RequestAborted

from integrations.api.problems import Problem
from integrations.middleware import api_prefix
from payments import logs
from payments.addresses import path_info
from payments.gateway.asgi import App, Receive, Scope, Send, respond
from payments.views.errors import page_of

logger = logging.getLogger(__name__)

LARGEST_HEAD = 64 * 1024  # bytes of the path, the query and all headers, as many as the shipped nginx passes on
LARGEST_BODY = 1024 * 1024  # bytes; Django itself answers 413 from DATA_UPLOAD_MAX_MEMORY_SIZE on, after reading all
BODY_SECONDS = 5  # for the whole body, because a server that stops waits for the requests that it has begun
PAGES = {408: 400, 413: 413, 431: 413}  # the status to respond with, and the one whose error page is shown


class Body:
    """Reads the body of one HTTP request, up to a size and for a time; `receive` stands in for ASGI's function.

    If the body is too large or too slow, `receive` sets `refused` to the status to respond with, and raises
    RequestAborted. Django then ends the request without a response.
    """

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._size = 0
        self._deadline = asyncio.get_running_loop().time() + BODY_SECONDS
        self._complete = False
        self.refused = 0

    async def receive(self) -> Mapping[str, Any]:
        if self._complete:  # the application only waits for the client to leave
            return await self._receive()
        try:
            async with asyncio.timeout_at(self._deadline):
                message = await self._receive()
        except TimeoutError:
            self._refuse(408)
        self._size += len(message.get("body", b""))
        if self._size > LARGEST_BODY:
            self._refuse(413)
        self._complete = not message.get("more_body")
        return message

    def _refuse(self, status: int) -> NoReturn:
        self.refused = status
        raise RequestAborted


def bounded(app: App) -> App:
    """Return an ASGI application that responds to HTTP requests beyond a bound itself, and passes others on to `app`.

    It responds with 431 if the head is too large, 413 if the body is, and 408 if the body takes too long.
    """

    async def bounded_app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        if head_size(scope) > LARGEST_HEAD:
            await refuse(431, scope, send)
            return
        body = Body(receive)
        try:
            await app(scope, body.receive, send)
        except RequestAborted:
            if not body.refused:
                raise
        if body.refused:
            await refuse(body.refused, scope, send)

    return bounded_app


def head_size(scope: Scope) -> int:
    """Return how many bytes the request's path, query and headers have."""
    path = len(scope.get("raw_path") or scope["path"].encode())
    return path + len(scope["query_string"]) + sum(len(name) + len(value) for name, value in scope["headers"])


async def refuse(status: int, scope: Scope, send: Send) -> None:
    """Respond with this HTTP status, log it, and have the server close the connection.

    The response is the status's error page or, to a request to the API, a problem document.
    """
    own_id = logs.new_id("")
    with logs.request(own_id):
        logger.warning("request_refused", extra={"status": status})
        is_api = path_info(scope).startswith(api_prefix())
        response = Problem(status).response() if is_api else page_of(PAGES[status])
    response.status_code = status
    response.headers["Connection"] = "close"
    response.headers["Cache-Control"] = "no-store"
    await respond(response, own_id, send)
