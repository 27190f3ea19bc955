"""Tests of requests to Stripe (the sandbox): which failures are definite, and how long a request waits."""

import subprocess
import sys
import time

import pytest
import stripe as sdk

from payments.gateway.client import (
    HTTP,
    RETRIES,
    StripeBusyError,
    StripeKeyError,
    StripePermissionError,
    StripeRefusedError,
    StripeUnavailableError,
    call,
    waiting_while_busy,
)
from tests.payments.sandbox import StripeAtHome


def list_events() -> None:
    call(lambda stripe: stripe.v1.events.list({"limit": 1}))


@pytest.mark.parametrize(
    ("mode", "kind", "code"),
    [
        ("401", StripeKeyError, "authentication_error"),
        ("403", StripePermissionError, "permission_error"),
        ("429", StripeBusyError, "rate_limit"),
        ("lock_timeout", StripeBusyError, "lock_timeout"),
        ("409", StripeUnavailableError, "idempotency_key_in_use"),
        ("error500", StripeUnavailableError, "APIError"),
        ("down", StripeUnavailableError, "APIConnectionError"),
    ],
)
def test_each_failure_tells_whether_stripe_did_the_request(
    mode: str, kind: type[Exception], code: str, stripe: StripeAtHome
) -> None:
    stripe.do("api", mode=mode)
    with pytest.raises(Exception, match=f"^{code}$") as failed:
        list_events()
    assert failed.type is kind


def test_an_unknown_object_is_a_refusal(stripe: StripeAtHome) -> None:
    with pytest.raises(StripeRefusedError) as refused:
        call(lambda stripe: stripe.v1.payment_intents.retrieve("pi_unknown"))
    assert refused.value.is_unknown_object


def test_a_page_does_not_wait_for_a_busy_stripe(stripe: StripeAtHome) -> None:
    stripe.do("api", mode="429", retry_after=20)
    started = time.monotonic()
    with pytest.raises(StripeBusyError) as busy:
        list_events()
    assert time.monotonic() - started < 15
    assert busy.value.retry_after == 20


def test_a_command_waits_as_long_as_a_busy_stripe_asks_but_not_for_ever(stripe: StripeAtHome) -> None:
    stripe.do("api", mode="429", count=2, retry_after=1.5)
    started = time.monotonic()
    with waiting_while_busy(120):
        list_events()
    assert time.monotonic() - started > 3
    stripe.do("api", mode="429")
    with waiting_while_busy(2), pytest.raises(StripeBusyError):
        list_events()
    stripe.do("api", mode="429", count=1, retry_after=500)
    with waiting_while_busy(120), pytest.raises(StripeBusyError):
        list_events()


def test_djstripes_calls_give_up_as_early_as_our_own() -> None:
    assert sdk.default_http_client is HTTP
    assert sdk.max_network_retries == RETRIES


def test_importing_the_asgi_module_leaves_the_garbage_collector_alone() -> None:
    script = "import gc; import payments_site.asgi; print(gc.get_freeze_count())"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "0"
