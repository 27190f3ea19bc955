"""Calls Stripe's API with short time-outs and one retry, and turns every failure into one of two exceptions."""

import datetime
import email.utils
import functools
import time
from collections.abc import Callable
from typing import Any

import stripe
from django.conf import settings

HTTP = stripe.RequestsClient(timeout=(2, 5))  # seconds to connect, and to wait for an answer; the SDK waits 80
RETRIES = 1


class StripeUnavailableError(Exception):
    """Raised when Stripe's API doesn't answer or fails with an error of its own. The call may still have had effect."""


class StripeRefusedError(Exception):
    """Raised when Stripe refuses an API call and does nothing. `code` says why, such as "charge_already_refunded"."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


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


def call(request: Callable[[stripe.StripeClient], stripe.StripeObject]) -> tuple[dict[str, Any], int]:
    """Call the function `request` with the Stripe client. Return Stripe's answer as a dict, and the answer's Unix time.

    Raises StripeRefusedError and StripeUnavailableError.
    """
    try:
        answer = request(_client(settings.STRIPE_SECRET_KEY, settings.STRIPE_API_HOST))
    except (stripe.InvalidRequestError, stripe.CardError, stripe.IdempotencyError) as error:
        raise StripeRefusedError(error.code or "invalid_request") from error
    except stripe.StripeError as error:
        raise StripeUnavailableError(type(error).__name__) from error
    if not isinstance(answer, stripe.StripeObject):  # a proxy has answered instead of Stripe
        raise StripeUnavailableError("not an object")
    return answer.to_dict(), _answered_at(answer)


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
