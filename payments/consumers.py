"""The socket of one page: who it is, where it stands, and what it may say. The hub does the talking."""

import logging
import time
from typing import Any
from urllib.parse import parse_qsl

from channels.consumer import get_handler_name
from channels.exceptions import StopConsumer
from channels.generic.websocket import AsyncWebsocketConsumer
from django.conf import settings
from django.db import DatabaseError

from . import metrics
from .live.feeds import supported_language
from .live.hub import Hub, hub
from .live.socket_sessions import NOT_ENTITLED, SIGNED_OUT, Holder
from .live.sockets import Socket
from .live.threads import in_thread
from .live.traces import Seen, mark_seen

logger = logging.getLogger(__name__)

BAD_MESSAGE, TOO_BIG, TOO_FAST, TRY_LATER = 4400, 4413, 4429, 1013
LARGEST_MESSAGE = 8192  # characters
PER_MINUTE = 30  # messages, on average
REASONS = ("closed", "stale", "timeout", "probe", "online", "visible", "pageshow", "offline", "pagehide", "answered")


class PaymentConsumer(AsyncWebsocketConsumer):  # type: ignore[misc]
    """/ws/payments/?feed=...&after=N&lang=fr, see "Live delivery" in ARCHITECTURE.md."""

    channel_layer_alias = "none"  # the hub listens for all sockets; a channel each would be a subscription each
    hub: Hub
    socket: Socket | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self._allowance, self._asked_at = float(PER_MINUTE), time.monotonic()
        try:
            await super().__call__(scope, receive, send)
        finally:
            if self.socket:
                self.hub.leave(self.socket)

    async def dispatch(self, message: Any) -> None:
        """Without Channels' trip to a thread for each message, which looks after connections that we don't have."""
        await getattr(self, get_handler_name(message))(message)

    async def websocket_disconnect(self, message: Any) -> None:
        raise StopConsumer

    async def connect(self) -> None:
        """Accept first: a refusal would look like a dead network, and a thousand pages at once must wait their turn."""
        await self.accept()
        self.hub = hub()
        query = dict(parse_qsl(self.scope["query_string"].decode("latin-1")))
        try:
            holder = await self.hub.holder_of(self.scope["cookies"].get(settings.SESSION_COOKIE_NAME, ""))
            if code := refusal(query, holder):
                await self.close(code)
            elif holder:
                note_reconnect(query, holder.audience)
                await self._join(query, holder)
        except DatabaseError:
            logger.exception("live_join_failed")
            await self.close(TRY_LATER)

    async def _join(self, query: dict[str, str], holder: Holder) -> None:
        language = supported_language(query.get("lang"))
        self.socket = Socket(holder, language, self.base_send, self.scope["server_send"])
        await self.hub.join(self.socket, int(query["after"]) if "after" in query else None)

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """A page says "ping", to have it proved that the socket lives, and which payments it shows to somebody."""
        if self.socket is None or self.socket.closed:
            return
        if len(text_data or bytes_data or "") > LARGEST_MESSAGE:
            self.socket.close(TOO_BIG)
        elif not self._within_rate():
            self.socket.close(TOO_FAST)
        elif text_data == "ping":
            self.hub.prove(self.socket)
        elif (seen := Seen.parse(text_data)) is not None:
            await in_thread(mark_seen, self.socket.holder.audience, seen)
        else:
            self.socket.close(BAD_MESSAGE)

    def _within_rate(self) -> bool:
        now = time.monotonic()
        self._allowance = min(PER_MINUTE, self._allowance + (now - self._asked_at) * PER_MINUTE / 60) - 1
        self._asked_at = now
        return self._allowance >= 0


def refusal(query: dict[str, str], holder: Holder | None) -> int:
    """The close code for who mustn't join, 0 for who may."""
    if holder is None:
        return SIGNED_OUT
    if query.get("feed", holder.audience) != holder.audience:
        return NOT_ENTITLED  # the page was made for somebody else
    after = query.get("after", "0")
    return 0 if after.isdecimal() and after.isascii() and len(after) < 18 else BAD_MESSAGE


def note_reconnect(query: dict[str, str], audience: str) -> None:
    """Log and count a page that comes back, with what it says of the reason."""
    if not (attempt := query.get("try", "")).isdecimal():
        return
    why = query.get("why") if query.get("why") in REASONS else "unknown"
    code = query.get("code", "") if query.get("code", "").isdecimal() else ""
    metrics.RECONNECTS.labels(why).inc()
    fields = {"attempt": attempt[:6], "why": why, "code": code[:6], "audience": audience}
    logger.info("live_reconnect", extra=fields)
