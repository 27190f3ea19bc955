"""The Stripe SDK's client with short time-outs and one retry; every failure is one of two exceptions."""

import datetime
import email.utils
import functools
import time
from collections.abc import Callable
from typing import Any

import stripe
from django.conf import settings

HTTP = stripe.RequestsClient(timeout=(2, 5))  # seconds to connect and to wait; the SDK's own default is 80
RETRIES = 1


class StripeUnavailableError(Exception):
    """Stripe didn't answer, or with an error of its own; it may have done what was requested or not."""


class StripeRefusedError(Exception):
    """Stripe refused the request and did nothing. `code` is Stripe's error code, such as "charge_already_refunded"."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


def limit_module_calls() -> None:
    """Give calls through the SDK's module, as dj-stripe makes them, the time-outs and retries of our own client."""
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
    """Send a request to Stripe. Return its answer as JSON, and when it was made, in Unix seconds by Stripe's clock.

    Raises StripeRefusedError and StripeUnavailableError.
    """
    try:
        answer = request(_client(settings.STRIPE_SECRET_KEY, settings.STRIPE_API_HOST))
    except (stripe.InvalidRequestError, stripe.CardError, stripe.IdempotencyError) as error:
        raise StripeRefusedError(error.code or "invalid_request") from error
    except stripe.StripeError as error:
        raise StripeUnavailableError(type(error).__name__) from error
    if not isinstance(answer, stripe.StripeObject):  # a proxy on the way has answered
        raise StripeUnavailableError("not an object")
    return answer.to_dict(), _answered_at(answer)


def _answered_at(answer: stripe.StripeObject) -> int:
    """Return the answer's time by Stripe's clock, because Stripe's events are ordered by it; else by ours."""
    headers = getattr(answer.last_response, "headers", {})
    try:
        date = email.utils.parsedate_to_datetime(headers["Date"])
    except (KeyError, TypeError, ValueError):
        return int(time.time())
    return int(date.replace(tzinfo=date.tzinfo or datetime.UTC).timestamp())
