"""What every request to the HTTP API passes before its function runs: key, limits, strict input, idempotency, log."""

import logging
from collections.abc import Callable, Collection
from functools import partial, wraps
from typing import Any, TypeVar

from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse
from ninja.decorators import decorate_view
from ninja.operation import Operation
from ninja.utils import contribute_operation_callback

from payments.logs import request_id

from ..models import ApiUse
from ..models.api_key import Scope
from .idempotency import run_once
from .keys import KeyRequest, authorize
from .problems import Problem
from .strict import read_json

logger = logging.getLogger(__name__)
Function = TypeVar("Function", bound=Callable[..., Any])
Run = Callable[..., HttpResponse]


def guarded(scope: Scope, *, parameters: Collection[str] = (), body: bool = False) -> Callable[[Function], Function]:
    """Return a decorator for an operation of the API, which a request needs an API key with `scope` to reach.

    The request's address may have the `parameters`, each once. `body` says whether the operation takes a JSON body.
    """

    def decorate(function: Function) -> Function:
        contribute_operation_callback(function, partial(_describe, scope))
        return decorate_view(partial(_checked, scope, parameters, body))(function)

    return decorate


def _describe(scope: Scope, operation: Operation) -> None:
    """Give the OpenAPI document the operation's name, its scope, and its docstring without the line breaks."""
    operation.operation_id = operation.view_func.__name__
    operation.openapi_extra = {"x-scope": scope.value}
    paragraphs = operation.description.split("\n\n") if operation.description else []
    operation.description = "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


def _checked(scope: Scope, parameters: Collection[str], body: bool, run: Run) -> Run:
    @wraps(run)
    def checked(request: KeyRequest, **path: Any) -> HttpResponse:
        status = 500
        try:
            key = authorize(request, scope)
            _require_known(request, parameters)
            if body:
                _require_json(request)
            response = run_once(request, key, partial(_run, run, request, path, body))
            status = response.status_code
        except Problem as problem:
            response, status = problem.response(), problem.status
        finally:
            _note_use(request, status)
        return response

    return checked


def _run(run: Run, request: KeyRequest, path: dict[str, Any], body: bool) -> HttpResponse:
    if body:
        request.body_json = read_json(request.body)
    return run(request, **path)


def _require_known(request: HttpRequest, parameters: Collection[str]) -> None:
    """Raise Problem if the address has a parameter that isn't among `parameters`, or one twice."""
    wrong = [
        {"parameter": name, "detail": "There is no such parameter." if name not in parameters else "Give it once."}
        for name, values in request.GET.lists()
        if name not in parameters or len(values) > 1
    ]
    if wrong:
        raise Problem(422, errors=wrong)


def _require_json(request: HttpRequest) -> None:
    if request.content_type != "application/json":
        raise Problem(415, "Send the body as JSON, with the header `Content-Type: application/json`.")


def _note_use(request: HttpRequest, status: int) -> None:
    """Log the request, if it has a valid key; requests beyond the key's rate have none yet."""
    key = getattr(request, "api_key", None)
    match = request.resolver_match
    if key is None or match is None:
        return
    about = {"method": str(request.method), "route": f"/{match.route}", "status": status}
    logger.info("api_request", extra={"api_key": key.prefix, **about})
    try:
        ApiUse.objects.create(key=key, request_id=request_id.get(), **about)
    except DatabaseError:
        logger.exception("api_use_not_noted")
