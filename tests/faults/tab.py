"""A simulated page without a browser: it uses a socket and HTTP as live-source.js does and records what it receives."""

import asyncio
import json
import random
import re
import time
import urllib.request
from contextlib import suppress
from email.message import Message
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException
from websockets.typing import Origin

from tests.clinic import Person

RETRY, STEADY_TRIES, GROWTH, LONGEST = 3.0, 6, 1.4, 30.0  # the values of live-waits.js
LATE, PROBE = 10.5, 2.0  # seconds of silence before a ping, and to wait for its answer
ENTRY = re.compile(r'<live-entry data-seq="(\d+)"')
WORD = re.compile(r"[-\w]{5,}")
STATUS = re.compile(r'id="payment-([-\w]+)" data-status="(\w+)" data-version="(\d+)"')

Statuses = dict[str, tuple[str, int]]  # (status, version) by the payment's public id


class Tab:
    """A simulated page; `cursor` is the number of the newest feed entry that it has received.

    `greeted_at` is the monotonic time of the last "hello" from the server, or 0 while no socket is open; `asked_at` is
    the time when the page last began to open a socket.
    """

    def __init__(self, url: str, person: Person, cursor: int = 0) -> None:
        self.url, self.person, self.cursor, self.began_at = url, person, cursor, cursor
        self.cookie = f"sessionid={person.session}"
        self.asked_at = self.greeted_at = self._heard_at = 0.0
        self.tries = self.resets = self._in_vain = 0  # tries: failed sockets; _in_vain: those since a hello
        self.told: list[int] = []  # the numbers of the entries, in the order in which they were applied
        self.statuses: Statuses = {}
        self.words: set[str] = set()  # every word received that could be an id or a name

    async def live(self) -> None:
        """Keep a socket open, and reconnect after failures, until the task is cancelled."""
        while True:
            self.greeted_at = 0.0
            with suppress(OSError, TimeoutError, WebSocketException):
                await self._listen()
                continue
            self.tries, self._in_vain = self.tries + 1, self._in_vain + 1
            mean = min(RETRY * GROWTH ** max(0, self._in_vain - STEADY_TRIES), LONGEST)
            await asyncio.sleep(mean * random.uniform(0.5, 1.5))

    async def _listen(self) -> None:
        """Open a socket and apply its frames; return once the server is silent and doesn't answer a ping."""
        socket = f"{self.url.replace('http', 'ws')}/ws/payments/?{self._position()}"
        options: dict[str, Any] = {"open_timeout": 8, "close_timeout": 0.1, "ping_interval": None, "compression": None}
        headers = {"Cookie": self.cookie}
        self.asked_at = time.monotonic()
        async with connect(socket, origin=Origin(self.url), additional_headers=headers, **options) as page:
            with suppress(TimeoutError):
                self._heard_at = asyncio.get_running_loop().time()
                while True:
                    text = await self._next(page)
                    self._heard_at = asyncio.get_running_loop().time()  # _hear may take long
                    await self._hear(json.loads(text))

    def _position(self) -> str:
        return f"feed={self.person.feed}&lang=fr&epoch={self.person.epoch}&after={self.cursor}"

    async def _next(self, page: ClientConnection) -> str | bytes:
        with suppress(TimeoutError):
            async with asyncio.timeout_at(self._heard_at + LATE):
                return await page.recv()
        await page.send("ping")
        async with asyncio.timeout(PROBE):
            return await page.recv()

    async def _hear(self, message: dict[str, Any]) -> None:
        if message.get("t") == "hello":
            self.greeted_at, self._in_vain = time.monotonic(), 0
        if (message["seq"] if "t" in message else message["prev"]) > self.cursor:
            await self._catch_up()
        elif "html" in message:
            self._apply(message["html"])

    async def _catch_up(self) -> None:
        url = f"{self.url}/payments/live/?{self._position()}"
        with suppress(OSError):
            headers, html = await asyncio.to_thread(self._get, url)
            if "X-Live-Reset" in headers:
                self.resets += 1
                self.cursor = int(headers["X-Live-Seq"])
            self._apply(html)

    def _get(self, url: str) -> tuple[Message, str]:
        request = urllib.request.Request(url, headers={"Cookie": self.cookie})
        with urllib.request.urlopen(request, timeout=5) as answer:
            return answer.headers, answer.read().decode()

    def _apply(self, html: str) -> None:
        for part in html.split("</live-entry>")[:-1]:
            number = ENTRY.search(part)
            assert number, part
            if int(number[1]) > self.cursor:
                self.cursor = int(number[1])
                self.told.append(self.cursor)
                self.words |= set(WORD.findall(part))
                self.statuses |= {public: (status, int(version)) for public, status, version in STATUS.findall(part)}
