"""How the control API is spoken: JSON by programs, plain forms by the control page's buttons."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web
from yarl import URL

from stripe_sandbox.errors import StripeError
from stripe_sandbox.store import Json


def answering(act: Callable[[Json], Json]) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def handle(request: web.Request) -> web.Response:
        if request.content_type == "application/x-www-form-urlencoded" and "Origin" in request.headers:
            return await _press(request, act)
        try:
            body: Any = json.loads(await request.text() or "{}")
            return web.json_response(act(body if isinstance(body, dict) else {}))
        except StripeError as error:
            return web.json_response({"error": error.error}, status=error.status)
        except (TypeError, ValueError) as error:
            return web.json_response({"error": {"message": str(error)}}, status=400)

    return handle


async def _press(request: web.Request, act: Callable[[Json], Json]) -> web.Response:
    """A button of the control page: the same act, then back to the page. Other sites' buttons are refused."""
    if URL(request.headers["Origin"]).authority != request.host:
        raise web.HTTPForbidden(text="This form was not sent by the sandbox's own page.")
    problem = ""
    try:
        act({name: _value(name, str(value)) for name, value in (await request.post()).items()})
    except (StripeError, TypeError, ValueError) as error:
        problem = str(error)
    chosen = URL(request.headers.get("Referer", "")).query.get("session")
    shown = {"session": chosen or "", "problem": problem}
    raise web.HTTPSeeOther(URL("/_sandbox/").with_query({key: value for key, value in shown.items() if value}))


def _value(name: str, text: str) -> Any:
    """Numbers and truths as in JSON; every other field stays text."""
    return json.loads(text) if name in ("advance", "offset", "seconds", "success", "times", "warning") else text
