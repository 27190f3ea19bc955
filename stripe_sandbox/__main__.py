"""Starts the sandbox: prints `sandbox http://127.0.0.1:PORT` when ready, and runs until Ctrl-C or SIGTERM."""

import argparse
import asyncio
import signal
import socket
import sys
from pathlib import Path

from aiohttp import web

from stripe_sandbox import endpoints, versions
from stripe_sandbox.app import make_app
from stripe_sandbox.errors import StripeError
from stripe_sandbox.sandbox import Sandbox, Settings


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="stripe_sandbox", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 (the default) chooses a free port")
    parser.add_argument("--public-url", help="the URL at which browsers reach it; default http://HOST:PORT")
    parser.add_argument("--webhook-url", help="where to send events; the control API can set it later")
    parser.add_argument("--webhook-secret", help="whsec_...; several, separated by commas, during a rotation")
    parser.add_argument("--api-key", help="the only key to accept; by default any test key")
    parser.add_argument("--api-version", default=Settings.api_version, help="the account's default version of the API")
    parser.add_argument("--business-name", default=Settings.business_name)
    parser.add_argument("--settle-seconds", type=int, default=Settings.settle_seconds)
    balance = "seconds until a charge has a balance transaction, and until a payout's list of them is complete"
    parser.add_argument("--balance-seconds", type=int, default=Settings.balance_seconds, help=balance)
    parser.add_argument("--retry-base", type=float, default=Settings.retry_base, help="seconds before the first retry")
    parser.add_argument("--state-file", type=Path, help="keeps objects and deliveries between runs")
    given = parser.parse_args()
    if given.api_key and not given.api_key.startswith(("sk_test_", "rk_test_")):
        parser.error("--api-key must be a test key: sk_test_... or rk_test_...")
    try:
        versions.checked(given.api_version)
    except StripeError as error:
        parser.error(str(error))
    return given


async def serve(given: argparse.Namespace) -> None:
    listening = socket.create_server((given.host, given.port), backlog=1024)
    url = given.public_url or f"http://{given.host}:{listening.getsockname()[1]}"
    settings = Settings(
        public_url=url.rstrip("/"),
        api_key=given.api_key,
        api_version=given.api_version,
        business_name=given.business_name,
        settle_seconds=given.settle_seconds,
        balance_seconds=given.balance_seconds,
        retry_base=given.retry_base,
    )
    sandbox = Sandbox(settings)
    runner = web.AppRunner(make_app(sandbox, given.state_file), access_log=None)
    if given.webhook_url:
        secrets = given.webhook_secret.split(",") if given.webhook_secret else None
        endpoints.replace(sandbox, given.webhook_url, secrets=secrets)
    await runner.setup()
    await web.SockSite(runner, listening, backlog=1024).start()
    sys.stdout.write(f"sandbox {url}\n")
    sys.stdout.flush()
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    await stopped.wait()
    await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(serve(arguments()))
