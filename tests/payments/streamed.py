"""Reads responses as an ASGI server does, streamed ones too."""

from typing import Any

from asgiref.sync import async_to_sync
from django.test import Client


def content_of(answer: Any) -> bytes:
    """Return the content of a response of Django's test client, whether or not the view streams it."""
    if not answer.streaming:
        return bytes(answer.content)

    async def read() -> bytes:
        return b"".join([part async for part in answer.streaming_content])

    return async_to_sync(read)()


def failure_of(client: Client, path: str) -> str:
    """Return what went wrong when `client`, which raises no exceptions, requested the path, or "" if nothing did."""
    try:
        answer: Any = client.get(path)
        content_of(answer)
    except Exception as error:  # noqa: BLE001 a streamed answer fails outside the client
        return f"{path}: {error!r}"
    return f"{path}: {answer.status_code}" if answer.status_code >= 500 else ""
