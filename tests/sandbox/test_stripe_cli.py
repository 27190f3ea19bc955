"""Stripe's own command line against the sandbox: a client that nobody here wrote."""

import fcntl
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sandbox.stripe_account import KEY, Receiver, StripeAccount, eventually, receiving

VERSION = "1.52.0"
CACHE = Path(__file__).resolve().parents[2] / ".tools" / "stripe-cli" / VERSION
TRIGGERS = (
    *("payment_intent.succeeded", "payment_intent.payment_failed", "payment_intent.canceled"),
    *("payment_intent.processing", "payment_intent.requires_action"),
    *("checkout.session.completed", "checkout.session.expired"),
    *("checkout.session.async_payment_succeeded", "checkout.session.async_payment_failed"),
    *("charge.refunded", "charge.refund.updated", "charge.dispute.created", "charge.dispute.closed"),
)


def fetch_cli() -> Path:
    """The static binary inside npm's @stripe/cli, kept in a git-ignored folder. Skips when it is not to be had."""
    machine = {"x86_64": "x64", "AMD64": "x64", "aarch64": "arm64", "arm64": "arm64"}.get(platform.machine())
    package = f"@stripe/cli-{sys.platform}-{machine}"
    binary = CACHE / "node_modules" / package / "bin" / "stripe"
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if binary.exists():
            return binary
        npm = shutil.which("npm")
        if npm is None:
            pytest.skip("npm is not installed, so the Stripe CLI cannot be fetched")
        command = [npm, "install", "--no-save", "--no-audit", "--ignore-scripts", "--prefix", str(CACHE)]
        fetched = subprocess.run([*command, f"{package}@{VERSION}"], capture_output=True, text=True, timeout=100)
    if not binary.exists():
        pytest.skip(f"npm could not fetch {package}: {fetched.stderr[-300:]}")
    return binary


@pytest.fixture(scope="session")
def binary() -> Path:
    return fetch_cli()


@pytest.fixture
def command(binary: Path, account: StripeAccount) -> list[str]:
    return [str(binary), "--api-key", KEY, "--api-base", account.url]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return {**os.environ, "HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path), "STRIPE_CLI_TELEMETRY_OPTOUT": "1"}


def run(command: list[str], environment: dict[str, str], *arguments: str) -> str:
    cli, *options = command
    done = subprocess.run(
        [cli, *arguments, *options], capture_output=True, text=True, timeout=60, env=environment, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("event_type", TRIGGERS)
def test_trigger_makes_the_event_arrive(
    account: StripeAccount, command: list[str], environment: dict[str, str], event_type: str
) -> None:
    assert "Trigger succeeded" in run(command, environment, "trigger", event_type)
    account.heard(event_type)
    assert account.receiver.forged == []


def test_events_are_resent(account: StripeAccount, command: list[str], environment: dict[str, str]) -> None:
    account.paid()
    account.heard("checkout.session.completed")
    event = account.v1.events.list({"type": "checkout.session.completed"}).data[0]
    endpoint = account.v1.webhook_endpoints.list().data[0]
    run(command, environment, "events", "resend", event.id, "--webhook-endpoint", endpoint.id)
    eventually(lambda: account.receiver.types.count("checkout.session.completed") == 2)


@pytest.fixture
def forwarded(
    account: StripeAccount, command: list[str], environment: dict[str, str], tmp_path: Path
) -> Iterator[Receiver]:
    """A site that `stripe listen` forwards to."""
    secret = run(command, environment, "listen", "--print-secret", "--skip-update").strip()
    cli, *options = command
    log = tmp_path / "listen.log"
    with receiving(Receiver(secret)) as receiver, log.open("w") as output:
        arguments = ["listen", "--skip-update", "--all-snapshot", "--forward-to", receiver.url]
        listening = subprocess.Popen([cli, *arguments, *options], stdout=output, stderr=output, env=environment)
        try:
            eventually(lambda: "Ready!" in log.read_text())
            yield receiver
        finally:
            listening.terminate()
            listening.wait(timeout=10)


def test_listen_forwards_and_its_answers_are_recorded(account: StripeAccount, forwarded: Receiver) -> None:
    account.paid()
    eventually(lambda: "checkout.session.completed" in forwarded.types)
    assert forwarded.forged == []
    eventually(lambda: account.deliveries(endpoint="stripe listen", type="checkout.session.completed"))
    answer = account.deliveries(endpoint="stripe listen", type="checkout.session.completed")[0]
    assert (answer["state"], answer["url"], answer["attempts"][0]["status"]) == ("delivered", forwarded.url, 200)
