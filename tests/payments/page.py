"""A test client for the site's WebSocket: it connects to the ASGI application as a browser would, without a server."""

import json
from typing import Any

from asgiref.sync import sync_to_async
from channels.testing import WebsocketCommunicator
from django.conf import settings
from django.test import Client

from accounts.models import User
from payments.live.feeds import audience_of
from payments.models import Feed
from payments.models.feed import Position
from payments_site.asgi import application
from tests.payments.clients import client_of
from tests.waits import PATIENCE

Message = dict[str, Any]


def feed_position(user: User) -> Position:
    """Return the position of the feed (list of changes) that the user's pages follow."""
    return Feed.objects.of(audience_of(user)).position


class Page:
    """A page's WebSocket: `async with Page(user) as page` connects; `await page.told()` returns the next message.

    The page sends its feed's epoch, unless `query` has another one or `user` is None.
    """

    def __init__(
        self, user: User | None, query: str = "after=0", *, origin: str | None = None, path: str = "/ws/payments/"
    ) -> None:
        self.user, self.url = user, f"{path}?{query}"
        self.knows_epoch = "epoch=" in query
        self.origin = settings.CLINIC_SITE_URL if origin is None else origin
        self.client = Client()

    async def open(self) -> bool:
        if self.user:
            self.client = await sync_to_async(client_of)(self.user)
            if not self.knows_epoch:
                self.url += f"&epoch={(await sync_to_async(feed_position)(self.user)).epoch}"
        cookies = "; ".join(f"{name}={morsel.value}" for name, morsel in self.client.cookies.items())
        headers = [(b"cookie", cookies.encode())] + ([(b"origin", self.origin.encode())] if self.origin else [])
        self.socket = WebsocketCommunicator(application, self.url, headers)
        connected, _ = await self.socket.connect(timeout=PATIENCE)
        return bool(connected)

    async def __aenter__(self) -> "Page":
        assert await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.socket.disconnect(timeout=PATIENCE)

    async def told(self, seconds: float = PATIENCE) -> Message:
        return dict(json.loads(await self.socket.receive_from(seconds)))

    async def told_until_hello(self) -> list[Message]:
        messages = [await self.told()]
        while messages[-1].get("t") != "hello":
            messages.append(await self.told())
        return messages

    async def close_code(self, seconds: float = PATIENCE) -> int:
        """Return the code with which the server closes the socket. Raise AssertionError if it sends a message first."""
        output = await self.socket.receive_output(seconds)
        assert output["type"] == "websocket.close", output
        return int(output["code"])
