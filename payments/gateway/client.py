"""The Stripe SDK's client as this site uses it: short time-outs, one retry, every failure in two kinds."""

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
    """Stripe didn't answer, or not usefully: what was asked may or may not have happened."""


class StripeRefusedError(Exception):
    """Stripe understood and said no. `code` is Stripe's error code, such as "charge_already_refunded"."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@functools.cache
def _client(api_key: str, api_host: str) -> stripe.StripeClient:
    return stripe.StripeClient(
        api_key,
        base_addresses={"api": api_host},
        http_client=HTTP,
        max_network_retries=RETRIES,
    )


def call(request: Callable[[stripe.StripeClient], stripe.StripeObject]) -> tuple[dict[str, Any], int]:
    """Ask Stripe: its answer as plain JSON, and when it was true (Unix seconds by Stripe's clock).

    Raises StripeRefusedError and StripeUnavailableError.
    """
    try:
        answer = request(_client(settings.STRIPE_SECRET_KEY, settings.STRIPE_API_HOST))
    except (stripe.InvalidRequestError, stripe.CardError, stripe.IdempotencyError) as error:
        raise StripeRefusedError(error.code or "invalid_request") from error
    except stripe.StripeError as error:
        raise StripeUnavailableError(type(error).__name__) from error
    if not isinstance(answer, stripe.StripeObject):  # something in between has answered
        raise StripeUnavailableError("not an object")
    return answer.to_dict(), _answered_at(answer)


def _answered_at(answer: stripe.StripeObject) -> int:
    """Stripe's clock, not ours, because events are ordered by it."""
    headers = getattr(answer.last_response, "headers", {})
    try:
        date = email.utils.parsedate_to_datetime(headers["Date"])
    except (KeyError, TypeError, ValueError):
        return int(time.time())
    return int(date.replace(tzinfo=date.tzinfo or datetime.UTC).timestamp())
