"""Builds the aiohttp application (Stripe's API, hosted Checkout, control API) and runs the sandbox's scheduled jobs."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from importlib import resources
from pathlib import Path

from aiohttp import web

from stripe_sandbox import jobs
from stripe_sandbox.api import Api
from stripe_sandbox.control import Control
from stripe_sandbox.control_page import ControlPage
from stripe_sandbox.errors import StripeError
from stripe_sandbox.listen import Listeners
from stripe_sandbox.pages import Pages
from stripe_sandbox.routes import ROUTES
from stripe_sandbox.sandbox import Sandbox
from stripe_sandbox.store import Json, read_file, write_file
from stripe_sandbox.webhooks import Webhooks

_TICK = 0.1  # seconds


def make_app(sandbox: Sandbox, state_file: Path | None = None) -> web.Application:
    webhooks = Webhooks(sandbox)
    sandbox.on_event = webhooks.on_event
    if state_file and (state := read_file(state_file)):
        sandbox.load(state["sandbox"])
        webhooks.load(state["deliveries"])
    api = Api(sandbox)
    app = web.Application()
    app.add_routes([web.route(method, path, api.handler(call)) for method, path, call in ROUTES])
    listeners = Listeners(sandbox, webhooks)
    webhooks.on_delivery = listeners.on_event
    app.add_routes([*listeners.routes(), web.post("/v1/stripecli/sessions", api.handler(listeners.create_session))])
    app.router.add_post("/v1/events/{id}/retry", api.handler(webhooks.retry_event))
    app.add_routes(Pages(sandbox).routes())
    app.add_routes(Control(sandbox, webhooks, api).routes())
    app.add_routes(ControlPage(sandbox, webhooks, api).routes())
    app.router.add_static("/_sandbox/static", str(resources.files("stripe_sandbox") / "static"))
    app.router.add_route("*", "/v1/{id:.*}", api.handler(_unknown))
    app.cleanup_ctx.append(lambda _: _running(sandbox, webhooks, state_file))
    return app


def _unknown(sandbox: Sandbox, given: Json, path: str) -> Json:
    raise StripeError(f"Unrecognized request URL (/v1/{path}). Please see https://stripe.com/docs.", status=404)


async def _running(sandbox: Sandbox, webhooks: Webhooks, state_file: Path | None) -> AsyncIterator[None]:
    def save() -> None:
        if state_file and sandbox.changed:
            sandbox.changed = False
            write_file(state_file, {"sandbox": sandbox.dump(), "deliveries": webhooks.dump()})

    await webhooks.start()
    ticking = asyncio.create_task(_tick(sandbox, save))
    yield
    ticking.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await ticking
    save()
    await webhooks.stop()


async def _tick(sandbox: Sandbox, save: Callable[[], None]) -> None:
    """Every 0.1 s, run the due jobs and call `save`; after a slow save, wait ten times its duration before the next."""
    save_at = 0.0
    while True:
        await asyncio.sleep(_TICK)
        jobs.run_due(sandbox)
        if time.monotonic() >= save_at:
            started = time.monotonic()
            save()
            save_at = time.monotonic() + 10 * (time.monotonic() - started)
