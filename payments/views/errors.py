"""Error pages. They query nothing, because the database may be what failed."""

import sys

from django.core.exceptions import RequestDataTooBig
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string

from ..logs import request_id
from .access import TooManyReads

RETRY_AFTER = {429: "60", 503: "60"}  # seconds
STATUSES: dict[type[Exception], int] = {RequestDataTooBig: 413, TooManyReads: 429}  # others are answered 400


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer a SuspiciousOperation (handler400) with the status that fits the exception."""
    return page_of(STATUSES.get(type(exception), 400))


def server_error(request: HttpRequest) -> HttpResponse:
    """Answer 503 when the database does not answer, is locked or full, since a retry may work; else 500."""
    return page_of(503 if isinstance(sys.exception(), OperationalError | InterfaceError) else 500)


def page_of(status: int) -> HttpResponse:
    """Render the template of this status with the request's id, by which the log can be searched."""
    response = HttpResponse(render_to_string(f"{status}.html", {"reference": request_id.get()}), status=status)
    if status in RETRY_AFTER:
        response.headers["Retry-After"] = RETRY_AFTER[status]
    return response
