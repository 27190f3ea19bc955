"""HTTP handlers for the control API's actions: programs send JSON, the control page's buttons send forms."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web
from yarl import URL

from stripe_sandbox import control_body
from stripe_sandbox.errors import StripeError
from stripe_sandbox.store import Json

# The control API's actions: {name: (function of the body, the keys that the body may have)}
Act = Callable[[Json], Json]
Actions = dict[str, tuple[Act, tuple[str, ...]]]


def handler(act: Act, keys: tuple[str, ...]) -> Callable[[web.Request], Awaitable[web.Response]]:
    """Return an aiohttp handler that calls the action `act` with the request's JSON or form fields.

    The handler answers JSON with the action's result, and a form with a redirect to the control page. It refuses a
    body that is no JSON object, or that has other keys than `keys`.
    """

    async def handle(request: web.Request) -> web.Response:
        if request.content_type == "application/x-www-form-urlencoded" and "Origin" in request.headers:
            return await _submit_form(request, act, keys)
        try:
            body: Any = json.loads(await request.text() or "{}")
            if not isinstance(body, dict):
                raise StripeError("The body is a JSON object.")
            control_body.only(body, keys)
            return web.json_response(act(body))
        except StripeError as error:
            return web.json_response({"error": error.error}, status=error.status)
        except ValueError as error:
            return web.json_response({"error": {"message": str(error)}}, status=400)

    return handle


async def _submit_form(request: web.Request, act: Act, keys: tuple[str, ...]) -> web.Response:
    """Call `act` with the form's fields, then redirect to the control page, which shows any error.

    Raises HTTPForbidden if another site sent the form.
    """
    if URL(request.headers["Origin"]).authority != request.host:
        raise web.HTTPForbidden(text="This form was not sent by the sandbox's own page.")
    problem = ""
    try:
        body = {name: _value(name, str(value)) for name, value in (await request.post()).items()}
        control_body.only(body, keys)
        act(body)
    except (StripeError, ValueError) as error:
        problem = str(error)
    chosen = URL(request.headers.get("Referer", "")).query.get("session")
    shown = {"session": chosen or "", "problem": problem}
    raise web.HTTPSeeOther(URL("/_sandbox/").with_query({key: value for key, value in shown.items() if value}))


def _value(name: str, text: str) -> Any:
    """Return a form field's text, parsed as JSON if the control API expects a number or boolean for `name`."""
    return json.loads(text) if name in ("advance", "offset", "seconds", "success", "times", "warning") else text
