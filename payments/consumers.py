"""Serves the WebSocket of one open page: checks whether the page may connect, and reads the messages it sends.

The hub (live/hub.py) sends messages to the page. This is a plain ASGI application, because a Channels consumer would
handle each message in Django's shared thread, where it would wait for slow views.
"""

import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qsl

from django.conf import settings
from django.db import DatabaseError

from . import metrics
from .live.feeds import supported_language
from .live.hub import hub
from .live.socket_sessions import NOT_ENTITLED, SIGNED_OUT, SocketSession
from .live.sockets import Socket
from .live.threads import in_thread
from .live.traces import Seen, mark_seen
from .live.wires import Send

logger = logging.getLogger(__name__)

BAD_MESSAGE, TOO_BIG, TOO_FAST, TRY_LATER = 4400, 4413, 4429, 1013  # close codes
LARGEST_MESSAGE = 8192  # characters, or bytes of a binary message
PER_MINUTE = 30  # messages that a page may send, on average
REASONS = ("closed", "stale", "timeout", "probe", "online", "visible", "pageshow", "offline", "pagehide", "answered")


async def payment_socket(scope: Any, receive: Callable[[], Awaitable[Any]], send: Send) -> None:
    """Serve one connection to /ws/payments/?feed=...&epoch=E&after=N&lang=fr until the page disconnects.

    "Live delivery" in ARCHITECTURE.md describes the messages in both directions.
    """
    consumer = PaymentConsumer(scope, send)
    try:
        while (message := await receive())["type"] != "websocket.disconnect":
            if message["type"] == "websocket.connect":
                await consumer.connect()
            else:
                await consumer.receive(message.get("text"), message.get("bytes"))
    finally:
        consumer.leave()


class PaymentConsumer:
    """The server's end of one page's WebSocket: checks whether the page may connect, and reads its messages.

    It adds the socket to the hub, which sends the page its changes.
    """

    def __init__(self, scope: Any, send: Send) -> None:
        self._scope, self._send = scope, send
        self._hub = hub()
        self._socket: Socket | None = None
        self._allowance, self._allowed_at = float(PER_MINUTE), time.monotonic()

    async def connect(self) -> None:
        """Accept the connection, then close it with a code that says why, if the page may not connect.

        Otherwise add it to the hub, which sends changes to pages. The check comes after accepting for two reasons: a
        page can't tell a refused handshake from a dead network, and the check is slow when a thousand pages connect at
        once.
        """
        await self._send({"type": "websocket.accept", "subprotocol": None})
        query = dict(parse_qsl(self._scope["query_string"].decode("latin-1")))
        try:
            session = await self._hub.session_of(self._scope["cookies"].get(settings.SESSION_COOKIE_NAME, ""))
            if code := refusal(query, session):
                await self._close(code)
            elif session:
                note_reconnect(query, session.audience)
                await self._join(query, session)
        except DatabaseError:
            logger.exception("live_join_failed")
            await self._close(TRY_LATER)

    async def _join(self, query: dict[str, str], session: SocketSession) -> None:
        language = supported_language(query.get("lang"))
        self._socket = Socket(session, language, self._send, self._scope["server_send"])
        await self._hub.join(self._socket, int(query["after"]) if "after" in query else None, query.get("epoch"))

    async def _close(self, code: int) -> None:
        await self._send({"type": "websocket.close", "code": code})

    async def receive(self, text: str | None, data: bytes | None) -> None:
        """Handle a message from the page: "ping", or a JSON list of the payments that are in view.

        Close the socket if the message is anything else or too long, or if messages come too fast.
        """
        if self._socket is None or self._socket.closed:
            return
        if len(text or data or "") > LARGEST_MESSAGE:
            self._socket.close(TOO_BIG)
        elif not self._within_rate():
            self._socket.close(TOO_FAST)
        elif text == "ping":
            self._hub.answer_ping(self._socket)
        elif (seen := Seen.parse(text)) is not None:
            await in_thread(mark_seen, self._socket.session.audience, seen)
        else:
            self._socket.close(BAD_MESSAGE)

    def leave(self) -> None:
        """Remove the page's socket from the hub, which sends changes to pages, when the connection has ended."""
        if self._socket:
            self._hub.leave(self._socket)

    def _within_rate(self) -> bool:
        """Count a message from the page, and return whether it may still be handled.

        A page may send PER_MINUTE messages at once, and PER_MINUTE a minute on average.
        """
        now = time.monotonic()
        self._allowance = min(PER_MINUTE, self._allowance + (now - self._allowed_at) * PER_MINUTE / 60) - 1
        self._allowed_at = now
        return self._allowance >= 0


def refusal(query: dict[str, str], session: SocketSession | None) -> int:
    """Return 0 if a page may connect, or else the code with which to close its socket.

    `query` is the query string of the socket's URL. `session` is the login session, or None if nobody is signed in.
    """
    if session is None:
        return SIGNED_OUT
    if query.get("feed", session.audience) != session.audience:
        return NOT_ENTITLED  # the page was made for another user
    after = query.get("after", "0")
    return 0 if after.isdecimal() and after.isascii() and len(after) < 18 else BAD_MESSAGE


def note_reconnect(query: dict[str, str], audience: str) -> None:
    """Log and count a page's WebSocket reconnection, with the reason given in `query`. Ignore a first connection.

    `audience` says whose changes the page shows: "staff" or "patient.<id>".
    """
    if not (attempt := query.get("try", "")).isdecimal():
        return
    why = query.get("why") if query.get("why") in REASONS else "unknown"
    code = query.get("code", "") if query.get("code", "").isdecimal() else ""
    metrics.RECONNECTS.labels(why).inc()
    fields = {"attempt": attempt[:6], "why": why, "code": code[:6], "audience": audience}
    logger.info("live_reconnect", extra=fields)
