"""Reads a streamed response as an ASGI server does."""

from typing import Any

from asgiref.sync import async_to_sync


def content_of(answer: Any) -> bytes:
    """Return the content of a response of Django's test client, whether or not the view streams it."""
    if not answer.streaming:
        return bytes(answer.content)

    async def read() -> bytes:
        return b"".join([part async for part in answer.streaming_content])

    return async_to_sync(read)()
