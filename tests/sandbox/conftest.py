from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sandbox import stripe_cli
from tests.sandbox.stripe_account import SECRET, Receiver, StripeAccount, receiving, running


@pytest.fixture(scope="session")
def sandbox_url() -> Iterator[str]:
    with running("--settle-seconds", "1", "--retry-base", "0.1", "--business-name", "Clinique du Parc") as url:
        yield url


@pytest.fixture(scope="session")
def session_receiver() -> Iterator[Receiver]:
    with receiving(Receiver()) as receiver:
        yield receiver


@pytest.fixture
def account(sandbox_url: str, session_receiver: Receiver) -> StripeAccount:
    """An account where nothing has happened yet, with its webhooks going to `account.receiver`."""
    made = StripeAccount(sandbox_url, session_receiver)
    made.control("reset", endpoints=True)
    made.control("webhook_endpoints", url=session_receiver.url, secret=SECRET)
    for kept in (session_receiver.events, session_receiver.headers, session_receiver.forged, session_receiver.answers):
        kept.clear()
    return made


@pytest.fixture(scope="session")
def cli_binary() -> Path:
    return stripe_cli.fetch()


@pytest.fixture
def cli(cli_binary: Path, account: StripeAccount, tmp_path: Path) -> stripe_cli.StripeCli:
    return stripe_cli.StripeCli(cli_binary, account.url, tmp_path)
