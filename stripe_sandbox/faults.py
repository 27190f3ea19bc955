"""Injected failures of Stripe's API, which the calling site must survive."""

import asyncio
from dataclasses import dataclass

from aiohttp import web

from stripe_sandbox.errors import StripeError

# The errors that Stripe answers, by mode: (HTTP status, type, code, message).
# https://docs.stripe.com/error-low-level and https://docs.stripe.com/rate-limits
_ERRORS: dict[str, tuple[int, str, str | None, str]] = {
    "error500": (500, "api_error", None, "An unknown error occurred"),
    "401": (401, "invalid_request_error", None, "Invalid API Key provided: sk_test_********0000"),
    "403": (
        403,
        "invalid_request_error",
        None,
        "The provided key 'rk_test_********0000' does not have the required permissions for this endpoint. "
        "Having the '{permission}' permission would allow this request to continue.",
    ),
    "409": (
        409,
        "invalid_request_error",
        "idempotency_key_in_use",
        "There is currently another in-progress request using this Idempotent Key (that probably means you submitted "
        "twice, and the other request is still going through). Please try again later.",
    ),
    "429": (
        429,
        "invalid_request_error",
        "rate_limit",
        "Request rate limit exceeded. Learn more about rate limits here https://stripe.com/docs/rate-limits.",
    ),
    "lock_timeout": (
        429,
        "invalid_request_error",
        "lock_timeout",
        "This object cannot be accessed right now because another API request or Stripe process is currently "
        "accessing it. If you see this error intermittently, retry the request.",
    ),
}
# Permissions that aren't named like the path that they allow. https://docs.stripe.com/keys/restricted-api-keys
_PERMISSIONS = {
    "account": "accounts_kyc_basic",
    "balance_transactions": "balance_transaction_source",
    "checkout": "checkout_session",
    "refunds": "charge",
    "webhook_endpoints": "webhook",
}
MODES = ("ok", *_ERRORS, "timeout", "down")


@dataclass
class Fault:
    """Says how and which requests to Stripe's API fail. Raises ValueError for a field with an impossible value."""

    mode: str = "ok"
    count: int | None = None  # how many more requests fail; None for all
    seconds: float = 90.0  # in mode timeout, how long the caller waits before the connection is cut
    match: str = ""  # only requests whose path contains this fail
    method: str = ""  # only requests with this HTTP method fail, such as POST
    retry_after: float | None = None  # seconds in the header Retry-After of the answer; None for no such header
    processed: bool = False  # whether the request is executed and only its answer is lost
    drop_webhooks: bool = False  # whether the webhooks of such an executed request are lost too

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ValueError(f"mode is one of {', '.join(MODES)}")
        if self.count is not None and (not _is_number(self.count, int) or self.count < 0):
            raise ValueError("count is a whole number, or null for every request")
        if not _is_number(self.seconds, int, float) or self.seconds < 0:
            raise ValueError("seconds is a number of seconds")
        if self.retry_after is not None and (not _is_number(self.retry_after, int, float) or self.retry_after < 0):
            raise ValueError("retry_after is a number of seconds, or null for no such header")
        if not isinstance(self.match, str) or self.method not in ("", "GET", "POST", "DELETE"):
            raise ValueError("match is a part of a path, and method is GET, POST or DELETE")
        if not isinstance(self.processed, bool) or not isinstance(self.drop_webhooks, bool):
            raise ValueError("processed and drop_webhooks are true or false")
        if self.drop_webhooks and not self.processed:
            raise ValueError("drop_webhooks needs processed, because a request that isn't executed has no webhooks")

    def affects(self, method: str, path: str) -> bool:
        """Return whether the fault makes this request fail. If so, subtract 1 from `count` unless it is None."""
        elsewhere = self.match not in path or self.method not in ("", method)
        if self.mode == "ok" or elsewhere or self.count == 0:
            return False
        if self.count is not None:
            self.count -= 1
        return True

    async def fail(self, request: web.Request) -> None:
        """Make the request fail: raise the mode's StripeError or, in the modes down and timeout, cut the connection.

        In the mode timeout, `seconds` pass before the connection is cut.
        """
        if self.mode in _ERRORS:
            status, kind, code, message = _ERRORS[self.mode]
            headers = {} if self.retry_after is None else {"Retry-After": f"{self.retry_after:g}"}
            message = message.replace("{permission}", _permission(request))
            raise StripeError(message, status=status, type=kind, code=code, headers=headers)
        if self.mode == "timeout":
            await asyncio.sleep(self.seconds)
        if request.transport:
            request.transport.abort()
        raise asyncio.CancelledError


def _permission(request: web.Request) -> str:
    """Return the name of the restricted key's permission that the request needs, such as rak_customer_write."""
    resource = request.path.split("/")[2]
    name = _PERMISSIONS.get(resource, resource.removesuffix("s"))
    return f"rak_{name}_{'read' if request.method == 'GET' else 'write'}"


def _is_number(value: object, *types: type) -> bool:
    return isinstance(value, types) and not isinstance(value, bool)
