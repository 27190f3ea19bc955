"""Sends one HTTP request to a webhook endpoint, within a deadline, and reads the beginning of the answer."""

import asyncio
import email.utils
import functools
import socket
import ssl
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime

import httpx

from ..models.webhook_message import WebhookAttempt
from .addresses import RefusedAddressError, require_allowed

Failure = WebhookAttempt.Failure

DEADLINE = 15.0  # seconds for the whole exchange, so that an endpoint that sends a byte now and then ends too
CONNECT = 5.0  # seconds for a connection to one address
LONGEST_ANSWER = 4096  # bytes that are read and kept
LONGEST_RETRY_AFTER = 24 * 3600  # seconds that an endpoint may ask for

# Threads of our own, because asyncio waits for its own threads at the end of a loop, also for a name server that hangs.
_resolvers = ThreadPoolExecutor(16, thread_name_prefix="webhook-name")


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a request: the answer's HTTP status and beginning, or why there was none.

    `retry_after` is for how many seconds the endpoint asks to be left alone.
    """

    milliseconds: int
    status: int | None = None
    failure: str = ""
    beginning: str = ""
    retry_after: float = 0

    @property
    def is_success(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


def post(url: str, headers: Mapping[str, str], body: bytes, until: float) -> Answer:
    """Send `body` to the URL and return the answer. Redirects aren't followed. Raises no error of the network.

    The exchange ends at the time `until` of the monotonic clock, whatever has happened by then.
    """
    started = time.monotonic()
    status, failure, beginning, retry_after = None, "", b"", 0.0
    try:
        status, beginning, retry_after = asyncio.run(_post_in_time(url, headers, body, until))
    except RefusedAddressError:
        failure = Failure.REFUSED_ADDRESS
    except (socket.gaierror, UnicodeError, httpx.InvalidURL):
        failure = Failure.NAME
    except (TimeoutError, httpx.TimeoutException):
        failure = Failure.TIMEOUT
    except (httpx.ConnectError, httpx.ReadError, httpx.WriteError):
        failure = Failure.CONNECTION
    except httpx.HTTPError:
        failure = Failure.PROTOCOL
    text = beginning.decode(errors="replace").replace("\0", "\ufffd")  # PostgreSQL stores no NUL
    return Answer(round(1000 * (time.monotonic() - started)), status, failure, text, retry_after)


async def _post_in_time(url: str, headers: Mapping[str, str], body: bytes, until: float) -> tuple[int, bytes, float]:
    async with asyncio.timeout_at(until):  # loops use the monotonic clock
        parts = httpx.URL(url)
        addresses = await resolve(parts.raw_host.decode(), parts.port or (443 if parts.scheme == "https" else 80))
        require_allowed(addresses, encrypted=parts.scheme == "https")
        for address in addresses[:-1]:
            try:
                return await _post_to(address, parts, headers, body)
            except (httpx.ConnectError, httpx.ConnectTimeout):
                continue
        return await _post_to(addresses[-1], parts, headers, body)


async def resolve(host: str, port: int) -> list[str]:
    """Return the addresses of the host, each once, in the system's order of preference."""
    loop = asyncio.get_running_loop()
    ask = functools.partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
    found = await loop.run_in_executor(_resolvers, ask)
    return list(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))


async def _post_to(address: str, url: httpx.URL, headers: Mapping[str, str], body: bytes) -> tuple[int, bytes, float]:
    """Send the request to this address, whatever the host name of the URL resolves to by now.

    The name stands in the Host header, is asked for in the TLS handshake, and has to be in the certificate:
    https://www.python-httpx.org/advanced/extensions/#sni_hostname
    """
    host = url.netloc.decode()
    target = url.copy_with(host=address)
    limits = httpx.Timeout(DEADLINE, connect=CONNECT)
    # Settings of a proxy in the environment are ignored, because the proxy would resolve the name again.
    async with (
        httpx.AsyncClient(verify=_tls(), trust_env=False, timeout=limits) as client,
        client.stream(
            "POST",
            target,
            content=body,
            headers={**headers, "Host": host},
            extensions={"sni_hostname": url.raw_host.decode()},
        ) as response,
    ):
        beginning = b""
        async for piece in response.aiter_raw():  # as sent: an answer that decompresses to gigabytes stays small
            beginning += piece
            if len(beginning) >= LONGEST_ANSWER:
                break
        return response.status_code, beginning[:LONGEST_ANSWER], _retry_after(response.headers.get("Retry-After", ""))


@functools.cache
def _tls() -> ssl.SSLContext:
    return httpx.create_ssl_context()


def _retry_after(text: str) -> float:
    """Return the header Retry-After in seconds, at most LONGEST_RETRY_AFTER; 0 if it says nothing."""
    if text.isascii() and text.isdigit():
        seconds = float(text[:9])
    else:
        try:
            moment = email.utils.parsedate_to_datetime(text)
        except ValueError:
            return 0
        seconds = (moment.replace(tzinfo=moment.tzinfo or UTC) - datetime.now(UTC)).total_seconds()
    return min(max(seconds, 0), LONGEST_RETRY_AFTER)
