"""Makes the API misbehave: the answers that a caller must survive."""

import asyncio
from dataclasses import dataclass

from aiohttp import web

from stripe_sandbox.errors import StripeError

MODES = ("ok", "error500", "429", "timeout", "down")


@dataclass
class Fault:
    mode: str = "ok"
    count: int | None = None  # requests still to spoil; None is until told otherwise
    seconds: float = 90.0  # timeout: how long the caller waits before the connection is cut
    match: str = ""  # only paths that contain this
    processed: bool = False  # the request is carried out and only its answer gets lost

    def hits(self, path: str) -> bool:
        """Whether this request is spoilt; counts it."""
        if self.mode == "ok" or self.match not in path or self.count == 0:
            return False
        if self.count is not None:
            self.count -= 1
        return True

    async def spoil(self, request: web.Request) -> None:
        """Always raises, in place of the answer."""
        if self.mode == "error500":
            raise StripeError("An unknown error occurred", status=500, type="api_error")
        if self.mode == "429":
            message = (
                "Request rate limit exceeded. Learn more about rate limits here https://stripe.com/docs/rate-limits."
            )
            raise StripeError(message, status=429, code="rate_limit")
        if self.mode == "timeout":
            await asyncio.sleep(self.seconds)
        if request.transport:
            request.transport.abort()
        raise asyncio.CancelledError
