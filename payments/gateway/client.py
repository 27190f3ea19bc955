"""Sends requests to Stripe with short time-outs and one retry; each failure tells whether Stripe did the request.

| Stripe's answer | here | done? |
|---|---|---|
| 400, 402, 404 | StripeRefusedError | no |
| 401 | StripeKeyError, a StripeRefusedError | no |
| 403 | StripePermissionError, a StripeKeyError | no |
| 429 | StripeBusyError, a StripeUnavailableError | no; it may be sent again |
| 409, 5xx, none at all | StripeUnavailableError | unknown |
| an object in an unknown form | NotUnderstoodError, a StripeUnavailableError | yes, with an unknown result |
"""

import datetime
import email.utils
import functools
import random
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

import stripe

from ..conf import app_settings

T = TypeVar("T")
HTTP = stripe.RequestsClient(timeout=(2, 5))  # seconds to connect, and to wait for an answer; the SDK waits 80
RETRIES = 1
API_VERSION = stripe.api_version  # the version whose objects the SDK, and so this site, knows
PERMISSION = re.compile(r"\brak_\w+")  # in the message of an error
LONGEST_PAUSE = 20  # seconds between two tries while Stripe is busy, unless Stripe asks for more

_patience: ContextVar[float] = ContextVar("patience", default=0)


class StripeUnavailableError(Exception):
    """Raised when Stripe's API doesn't answer or fails with an error of its own. The call may still have had effect."""


class StripeBusyError(StripeUnavailableError):
    """Raised when Stripe does nothing because of too many requests.

    `retry_after` is how many seconds Stripe asks to wait, or 0 if it doesn't say.
    """

    def __init__(self, code: str, retry_after: float) -> None:
        super().__init__(code)
        self.retry_after = retry_after


class NotUnderstoodError(StripeUnavailableError):
    """Raised when an object in Stripe's answer has a form that this site doesn't know, such as a new status."""


class StripeRefusedError(Exception):
    """Raised when Stripe refuses an API call and does nothing. `code` says why, such as "charge_already_refunded"."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code

    @property
    def is_unknown_object(self) -> bool:
        """Return whether Stripe refused because it has no object with this id."""
        return self.code == "resource_missing"


class StripeKeyError(StripeRefusedError):
    """Raised when Stripe refuses the API key: it is wrong, expired, or isn't allowed to do this."""


class StripePermissionError(StripeKeyError):
    """Raised when the API key is restricted and isn't allowed to do this.

    `permission` is Stripe's name of what is missing, such as "rak_charge_write", or "" if Stripe doesn't say.
    """

    def __init__(self, code: str, permission: str) -> None:
        super().__init__(code)
        self.permission = permission


CODES: dict[type[stripe.StripeError], str] = {  # for answers without a code
    stripe.AuthenticationError: "authentication_error",
    stripe.PermissionError: "permission_error",
    stripe.RateLimitError: "rate_limit",
    stripe.IdempotencyError: "idempotency_error",
    stripe.InvalidRequestError: "invalid_request",
    stripe.CardError: "card_error",
}


def limit_module_calls() -> None:
    """Set our time-outs and retries on the `stripe` module itself, through which dj-stripe calls Stripe."""
    stripe.default_http_client, stripe.max_network_retries = HTTP, RETRIES


@functools.cache
def _client(api_key: str, api_host: str) -> stripe.StripeClient:
    return stripe.StripeClient(
        api_key,
        base_addresses={"api": api_host},
        http_client=HTTP,
        max_network_retries=RETRIES,
    )


@contextmanager
def waiting_while_busy(seconds: float) -> Iterator[None]:
    """Let each request to Stripe in the `with` block wait and try again for up to `seconds` while Stripe answers 429.

    Requests outside such a block fail at once.
    """
    token = _patience.set(seconds)
    try:
        yield
    finally:
        _patience.reset(token)


def call(request: Callable[[stripe.StripeClient], stripe.StripeObject]) -> tuple[dict[str, Any], int]:
    """Call the function `request` with the Stripe client. Return Stripe's answer as a dict, and the answer's Unix time.

    Raises StripeRefusedError and StripeUnavailableError.
    """
    answer = ask(lambda: request(_client(app_settings.STRIPE_SECRET_KEY, app_settings.STRIPE_API_HOST)))
    if not isinstance(answer, stripe.StripeObject):  # a proxy has answered instead of Stripe
        raise StripeUnavailableError("not an object")
    return answer.to_dict(), _answered_at(answer)


def ask(request: Callable[[], T]) -> T:
    """Call `request`, which uses Stripe's SDK, and return its result; while Stripe answers 429, wait and call it again.

    `waiting_while_busy` says for how long. Raises StripeRefusedError and StripeUnavailableError.
    """
    give_up_at, pause = time.monotonic() + _patience.get(), 1.0
    while True:
        try:
            return _translated(request)
        except StripeBusyError as busy:
            wait = max(busy.retry_after, pause * random.uniform(0.5, 1))  # noqa: S311 - spreads requests, guards nothing
            if time.monotonic() + wait > give_up_at:
                raise
        time.sleep(wait)
        pause = min(2 * pause, LONGEST_PAUSE)


def _translated(request: Callable[[], T]) -> T:
    try:
        return request()
    except stripe.AuthenticationError as error:
        raise StripeKeyError(_code(error)) from error
    except stripe.PermissionError as error:
        named = PERMISSION.search(error.user_message or "")
        raise StripePermissionError(_code(error), named[0] if named else "") from error
    except (stripe.InvalidRequestError, stripe.CardError, stripe.IdempotencyError) as error:
        raise StripeRefusedError(_code(error)) from error
    except stripe.RateLimitError as error:
        raise StripeBusyError(_code(error), _retry_after(error)) from error
    except stripe.StripeError as error:
        raise StripeUnavailableError(_code(error)) from error


def _code(error: stripe.StripeError) -> str:
    """Return Stripe's code of the error; the SDK keeps it in the error's body for most types of errors."""
    in_body = getattr(error.error, "code", None)
    return str(error.code or in_body or CODES.get(type(error), type(error).__name__))


def _retry_after(error: stripe.StripeError) -> float:
    headers = {name.lower(): value for name, value in (error.headers or {}).items()}
    try:
        return float(headers["retry-after"])
    except (KeyError, ValueError):  # missing, or a date, which Stripe doesn't send
        return 0


def _answered_at(answer: stripe.StripeObject) -> int:
    """Return when Stripe answered, in Unix seconds: the answer's Date header, or this machine's time if it is missing.

    Stripe's clock is preferred because Stripe's events carry its times, and answers and events are ordered by time.
    """
    headers = getattr(answer.last_response, "headers", {})
    try:
        date = email.utils.parsedate_to_datetime(headers["Date"])
    except (KeyError, TypeError, ValueError):
        return int(time.time())
    return int(date.replace(tzinfo=date.tzinfo or datetime.UTC).timestamp())
