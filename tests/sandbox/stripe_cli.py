"""Downloads and runs Stripe's command line, to test the sandbox with a client that was not written for it."""

import fcntl
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.sandbox.stripe_account import KEY
from tests.waits import wait_until

VERSION = "1.52.0"
CACHE = Path(__file__).resolve().parents[2] / ".tools" / "stripe-cli" / VERSION
TRIGGERS = (
    *("payment_intent.succeeded", "payment_intent.payment_failed", "payment_intent.canceled"),
    *("payment_intent.processing", "payment_intent.requires_action"),
    *("checkout.session.completed", "checkout.session.expired"),
    *("checkout.session.async_payment_succeeded", "checkout.session.async_payment_failed"),
    *("charge.refunded", "charge.refund.updated", "charge.dispute.created", "charge.dispute.closed"),
)


def fetch() -> Path:
    """Return the path of the Stripe CLI, after a download with npm the first time. Skip the test if that fails."""
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


class StripeCli:
    """Runs the Stripe CLI against the sandbox at `url`, with its configuration in `home`."""

    def __init__(self, binary: Path, url: str, home: Path) -> None:
        self.binary, self.home = binary, home
        self.options = ["--api-key", KEY, "--api-base", url]
        folders = {"HOME": str(home), "XDG_CONFIG_HOME": str(home)}
        self.environment = {**os.environ, **folders, "STRIPE_CLI_TELEMETRY_OPTOUT": "1"}

    def run(self, *arguments: str) -> str:
        """Run the CLI, check that it succeeds and return its standard output."""
        command = [str(self.binary), *arguments, *self.options]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=self.environment)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def secret(self) -> str:
        """Return the secret with which `stripe listen` signs webhooks."""
        return self.run("listen", "--print-secret", "--skip-update").strip()

    @contextmanager
    def listening(self, forward_to: str, *options: str) -> Iterator[None]:
        """Run `stripe listen`, which forwards webhooks to the URL `forward_to`; the block starts when it is ready."""
        log = self.home / "listen.log"
        arguments = ["listen", "--skip-update", "--all-snapshot", "--forward-to", forward_to, *options]
        command = [str(self.binary), *arguments, *self.options]
        with log.open("w") as output:
            process = subprocess.Popen(command, stdout=output, stderr=output, env=self.environment)
        try:
            wait_until(lambda: "Ready!" in log.read_text(), "stripe listen gets ready")
            yield
        finally:
            process.terminate()
            process.wait(timeout=10)
