"""Lets requests for changes wait for the next change before they enter Django, whose handler keeps a thread for each.

While a request waits, it costs neither a thread nor a query: the hub tells when the staff's feed, the numbered list of
changes, has moved. Then Django answers the request as if it had just come.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

from django.db import DatabaseError

from payments.addresses import mounted_path, path_info
from payments.gateway.asgi import App, Receive, Scope, Send
from payments.live.hub import hub
from payments.live.threads import in_thread
from payments.models.feed import STAFF, Position

from ..models import ApiKey
from ..models.api_key import Scope as KeyScope
from ..models.api_key import WrongKeyError
from .changes import LONGEST_WAIT
from .keys import bearer_of

logger = logging.getLogger(__name__)

MOST_WAITING = 10  # requests of one key in this process; one more is answered at once
_waiting: Counter[int] = Counter()  # by the key's primary key


class Wish(NamedTuple):
    """A request to wait for changes after a position, for some seconds, with the text of an API key."""

    known: Position
    seconds: int
    key: str


def waiting_app(pages: App) -> App:
    """Return an ASGI application that passes requests on to `pages`, those that want to wait after the wait."""
    path = mounted_path("integrations:changes")

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        wish = wish_of(scope) if scope["type"] == "http" and path_info(scope) == path else None
        if wish is None:
            await pages(scope, receive, send)
            return
        first = await receive()
        if first.get("more_body") or first["type"] != "http.request":
            await pages(scope, _again([first], receive), send)
            return
        leaving = asyncio.create_task(_next(receive))  # the next message comes when the client leaves
        try:
            await _wait(wish, leaving)
            if not leaving.done():
                await pages(scope, _again([first], lambda: leaving), send)
        finally:
            leaving.cancel()

    return app


def wish_of(scope: Scope) -> Wish | None:
    """Return what a request for changes wants to wait for, or None if it is no well-formed request to wait."""
    if scope["method"] != "GET":
        return None
    query = dict(parse_qsl(scope["query_string"].decode("latin-1")))
    after, wait = query.get("after", ""), query.get("wait", "")
    if not all(text.isascii() and text.isdecimal() and len(text) < 16 for text in (after, wait)):
        return None
    header = dict(scope["headers"]).get(b"authorization", b"").decode("latin-1")
    seconds = int(wait)
    if not (0 < seconds <= LONGEST_WAIT and header and query.get("epoch")):
        return None
    return Wish(Position(query["epoch"], int(after)), seconds, bearer_of(header))


async def _wait(wish: Wish, leaving: "asyncio.Task[Mapping[str, Any]]") -> None:
    """Return when there is a change, the time is over, the client has left, or the request has no reason to wait."""
    try:
        key = await in_thread(ApiKey.objects.find, wish.key)
    except (WrongKeyError, DatabaseError):  # Django will say so
        return
    if KeyScope.READ not in key.scopes or _waiting[key.pk] >= MOST_WAITING:
        return
    _waiting[key.pk] += 1
    moved = asyncio.create_task(hub().wait(STAFF, wish.known))
    try:
        await asyncio.wait({moved, leaving}, timeout=wish.seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        _waiting[key.pk] -= 1
        moved.cancel()
        with suppress(asyncio.CancelledError, DatabaseError):
            await moved


async def _next(receive: Receive) -> Mapping[str, Any]:
    return await receive()


def _again(messages: list[Mapping[str, Any]], receive: Any) -> Receive:
    """Return a function that returns the messages which were received before, and then what `receive` returns."""

    async def again() -> Mapping[str, Any]:
        message: Mapping[str, Any] = messages.pop(0) if messages else await receive()
        return message

    return again
