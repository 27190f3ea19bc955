"""Injected failures of Stripe's API, which the calling site must survive."""

import asyncio
from dataclasses import dataclass

from aiohttp import web

from stripe_sandbox.errors import StripeError

MODES = ("ok", "error500", "429", "timeout", "down")


@dataclass
class Fault:
    mode: str = "ok"
    count: int | None = None  # how many more requests fail; None for all
    seconds: float = 90.0  # in mode timeout, how long the caller waits before the connection is cut
    match: str = ""  # only requests whose path contains this fail
    processed: bool = False  # whether the request is executed and only its answer is lost

    def affects(self, path: str) -> bool:
        """Return whether a request to `path` has to fail. If so, subtract 1 from `count` unless it is None."""
        if self.mode == "ok" or self.match not in path or self.count == 0:
            return False
        if self.count is not None:
            self.count -= 1
        return True

    async def fail(self, request: web.Request) -> None:
        """Make the request fail: raise StripeError in the modes error500 and 429, else cut the connection.

        In the mode timeout, wait `seconds` before cutting it.
        """
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
