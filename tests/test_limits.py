"""Requests that are too large or never end, on the ASGI application and on a site without nginx."""

import asyncio
import json
import time
from typing import Any

import pytest

from payments_site import limits
from payments_site.asgi import application

Headers = list[tuple[bytes, bytes]]


async def respond(path: str, chunks: list[bytes], headers: Headers, *, ends: bool = True) -> tuple[int, bytes, int]:
    """POST these chunks to the application; return the response's status and content and how many chunks it read."""
    scope = {"type": "http", "method": "POST", "path": path, "query_string": b"", "client": ("127.0.0.1", 5)}
    scope |= {"headers": [(b"host", b"testserver"), *headers], "http_version": "1.1"}
    waiting = list(chunks)
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        if not waiting:
            await asyncio.sleep(3600)
        chunk = waiting.pop(0)
        return {"type": "http.request", "body": chunk, "more_body": bool(waiting) or not ends}

    async def send(message: Any) -> None:
        sent.append(message)

    await application(scope, receive, send)
    content = b"".join(message.get("body", b"") for message in sent[1:])
    assert (b"connection", b"close") in sent[0]["headers"]
    return sent[0]["status"], content, len(chunks) - len(waiting)


FORM: Headers = [(b"content-type", b"application/x-www-form-urlencoded")]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("kind", [b"application/x-www-form-urlencoded", b"multipart/form-data; boundary=x", b"text/x"])
async def test_a_page_reads_no_more_of_a_large_upload_than_it_may(kind: bytes) -> None:
    status, content, read = await respond("/login/", [b"x" * 65536] * 960, [(b"content-type", kind)])
    assert (status, read) == (413, limits.LARGEST_BODY // 65536 + 1)
    assert b"<html" in content


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("path", ["/login/", "/stripe/webhook/", "/nowhere/"])
async def test_large_headers_are_refused_before_anything_reads_them(path: str) -> None:
    for headers in ([(b"cookie", b"x" * 2_000_000)], [(b"x-%d" % number, b"y" * 1000) for number in range(100)]):
        status, content, read = await respond(path, [b""], headers)
        assert (status, read, b"<html" in content) == (431, 0, True)


@pytest.mark.django_db(transaction=True)
async def test_the_api_refuses_by_problem_details(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "BODY_SECONDS", 0.2)
    path, kind = "/api/patients/p-1", [(b"content-type", b"application/json")]
    answers = [
        await respond(path, [b""], [(b"x", b"y" * 100_000)]),
        await respond(path, [b"{"], kind, ends=False),
        await respond(path, [b"x" * 65536] * 960, kind),
    ]
    assert [(status, json.loads(content)["status"]) for status, content, _ in answers] == [
        (431, 431),
        (408, 408),
        (413, 413),
    ]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("path", ["/login/", "/stripe/webhook/"])
async def test_a_body_that_never_ends_is_not_waited_for(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "BODY_SECONDS", 0.2)
    begun = time.monotonic()
    status, _, _ = await respond(path, [b"a=1"], FORM, ends=False)
    assert (status, time.monotonic() - begun < 2) == (408, True)
