"""Fixtures of the sandbox's tests: an empty account in a running sandbox, and Stripe's command line."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sandbox import stripe_cli
from tests.sandbox.stripe_account import SECRET, Receiver, StripeAccount, receiving, running


@pytest.fixture(scope="session")
def sandbox_url() -> Iterator[str]:
    options = ("--settle-seconds", "1", "--balance-seconds", "600", "--retry-base", "0.1")  # 600: when the clock moves
    with running(*options, "--business-name", "Clinique du Parc") as url:
        yield url


@pytest.fixture
def account(sandbox_url: str) -> Iterator[StripeAccount]:
    """Yield an empty account whose webhooks go to `account.receiver`."""
    with receiving(Receiver()) as receiver:  # a new receiver, which gets no late webhooks of another test
        made = StripeAccount(sandbox_url, receiver)
        made.control("reset", endpoints=True)
        made.control("webhook_endpoints", url=receiver.url, secret=SECRET)
        yield made


@pytest.fixture(scope="session")
def cli_binary() -> Path:
    return stripe_cli.fetch()


@pytest.fixture
def cli(cli_binary: Path, account: StripeAccount, tmp_path: Path) -> stripe_cli.StripeCli:
    return stripe_cli.StripeCli(cli_binary, account.url, tmp_path)
