"""What people see of a request that failed. Nothing is asked of the database, which may be what failed."""

import sys

from django.core.exceptions import RequestDataTooBig
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string

from ..logs import request_id
from .access import TooManyReads

RETRY_AFTER = {429: "60", 503: "60"}  # seconds
STATUSES: dict[type[Exception], int] = {RequestDataTooBig: 413, TooManyReads: 429}  # of what isn't simply 400


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    return page_of(STATUSES.get(type(exception), 400))


def server_error(request: HttpRequest) -> HttpResponse:
    """503 where the database doesn't answer, is locked or full: the same may work in a minute."""
    return page_of(503 if isinstance(sys.exception(), OperationalError | InterfaceError) else 500)


def page_of(status: int) -> HttpResponse:
    response = HttpResponse(render_to_string(f"{status}.html", {"reference": request_id.get()}), status=status)
    if status in RETRY_AFTER:
        response.headers["Retry-After"] = RETRY_AFTER[status]
    return response
