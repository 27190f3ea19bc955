"""Serves the WebSocket of one open page: checks whether the page may connect, and reads the messages it sends.

The hub (live/hub.py) sends messages to the page. This is a plain ASGI application, because a Channels consumer would
handle each message in Django's shared thread, where it would wait for slow views.
"""

import asyncio
import logging
import time
from typing import Any
from urllib.parse import parse_qsl

from channels.security.websocket import WebsocketDenier
from channels.sessions import CookieMiddleware
from django.conf import settings
from django.db import DatabaseError

from . import metrics
from .addresses import mounted_path, path_info
from .conf import app_settings
from .gateway.asgi import App
from .live.feeds import supported_language
from .live.hub import hub
from .live.socket_sessions import NOT_ENTITLED, SIGNED_OUT, SocketSession
from .live.sockets import Socket
from .live.threads import in_thread
from .live.traces import Seen, mark_seen
from .live.wires import Receive, Send, Wire, wire_of

logger = logging.getLogger(__name__)
_reports: set[asyncio.Task[None]] = set()  # held here, because the event loop holds its tasks only weakly

BAD_MESSAGE, TOO_BIG, TOO_FAST, TRY_LATER = 4400, 4413, 4429, 1013  # close codes
LARGEST_MESSAGE = 8192  # characters, or bytes of a binary message
PER_MINUTE = 30  # messages that a page may send, on average
MOST_REPORTS = 2000  # reports of this process that may wait to be stored; more are dropped
REASONS = ("closed", "stale", "timeout", "probe", "online", "visible", "pageshow", "offline", "pagehide", "answered")


def socket_app(others: App | None) -> App:
    """Return an ASGI application that serves the WebSockets of open pages, and passes others on to `others`.

    It answers a page's handshake with 403 unless the handshake has exactly one Origin header, equal to CLINIC_SITE_URL.
    Channels' OriginValidator would read only the last of several Origin headers, and raise on a malformed header.
    Without `others`, it also answers other handshakes with 403.
    """
    path = mounted_path("clinic:payments_socket")
    ours, denied = CookieMiddleware(payment_socket), WebsocketDenier.as_asgi()

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        if path_info(scope) != path:
            served = others or denied
        else:
            origins = [value for name, value in scope["headers"] if name == b"origin"]
            served = ours if origins == [app_settings.CLINIC_SITE_URL.encode()] else denied
        await served(scope, receive, send)

    return app


async def payment_socket(scope: Any, receive: Receive, send: Send) -> None:
    """Serve one connection to ws/payments/?feed=...&epoch=E&after=N&lang=fr until the page disconnects.

    Under uvicorn this function returns earlier, because a wire that was taken over from the server needs no task.
    "Live delivery" in ARCHITECTURE.md describes the messages in both directions.
    """
    await receive()  # "websocket.connect", always the first event
    await send({"type": "websocket.accept", "subprotocol": None})
    consumer = PaymentConsumer(wire := wire_of(receive, send))
    try:
        await consumer.connect(scope)
    except asyncio.CancelledError:
        consumer.leave()
        raise
    await wire.serve(consumer)


class PaymentConsumer:
    """The server's end of one page's WebSocket: checks whether the page may connect, and reads its messages.

    It adds the socket to the hub, which sends the page its changes.
    """

    __slots__ = ("_allowance", "_allowed_at", "_hub", "_socket", "_wire")

    def __init__(self, wire: Wire) -> None:
        self._wire, self._hub = wire, hub()
        self._socket: Socket | None = None
        self._allowance, self._allowed_at = float(PER_MINUTE), time.monotonic()

    async def connect(self, scope: Any) -> None:
        """Add the page to the hub, which sends it changes, or close the connection with a code that says why not.

        The connection was accepted before this check for two reasons: a page can't tell a refused handshake from a dead
        network, and the check is slow when a thousand pages connect at once.
        """
        query = dict(parse_qsl(scope["query_string"].decode("latin-1")))
        try:
            session = await self._hub.session_of(scope["cookies"].get(settings.SESSION_COOKIE_NAME, ""))
            if code := refusal(query, session):
                self._wire.close(code)
            elif session:
                note_reconnect(query, session.audience)
                await self._join(query, session)
        except Exception:
            logger.exception("live_join_failed")
            self.leave()
            self._wire.close(TRY_LATER)

    async def _join(self, query: dict[str, str], session: SocketSession) -> None:
        self._socket = Socket(session, supported_language(query.get("lang")), self._wire)
        await self._hub.join(self._socket, int(query["after"]) if "after" in query else None, query.get("epoch"))

    def receive(self, message: str | bytes) -> None:
        """Handle a message from the page: "ping", or a JSON list of the payments that are in view.

        Close the socket if the message is anything else or too long, or if messages come too fast.
        """
        if self._socket is None or self._socket.closed:
            return
        if len(message) > LARGEST_MESSAGE:
            self._socket.close(TOO_BIG)
        elif not self._within_rate():
            self._socket.close(TOO_FAST)
        elif message == "ping":
            self._hub.answer_ping(self._socket)
        elif isinstance(message, str) and (seen := Seen.parse(message)):
            self._report(self._socket.session.audience, seen)
        else:
            self._socket.close(BAD_MESSAGE)

    def leave(self) -> None:
        """Remove the page's socket from the hub, which sends changes to pages, when the connection has ended."""
        if self._socket:
            self._hub.leave(self._socket)

    def _report(self, audience: str, seen: Seen) -> None:
        if len(_reports) < MOST_REPORTS:  # reports only measure how fast changes are seen
            report = asyncio.create_task(store_report(audience, seen, self._hub.reporting))
            _reports.add(report)
            report.add_done_callback(_reports.discard)

    def _within_rate(self) -> bool:
        """Count a message from the page, and return whether it may still be handled.

        A page may send PER_MINUTE messages at once, and PER_MINUTE a minute on average.
        """
        now = time.monotonic()
        self._allowance = min(PER_MINUTE, self._allowance + (now - self._allowed_at) * PER_MINUTE / 60) - 1
        self._allowed_at = now
        return self._allowance >= 0


async def store_report(audience: str, seen: Seen, turn: asyncio.Lock) -> None:
    """Store which payments somebody has seen on a page that shows the changes of `audience`.

    Only the holder of the lock `turn` stores a report, so that many reports leave threads to other queries.
    """
    async with turn:
        try:
            await in_thread(mark_seen, audience, seen)
        except DatabaseError:
            logger.exception("live_report_failed")


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
