"""What people see of a request that failed. Nothing is asked of the database, which may be what failed."""

import sys

from django.core.exceptions import RequestDataTooBig
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string

from ..logs import request_id

RETRY_AFTER = "60"  # seconds


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    return page_of(413 if isinstance(exception, RequestDataTooBig) else 400)


def server_error(request: HttpRequest) -> HttpResponse:
    """503 where the database doesn't answer, is locked or full: the same may work in a minute."""
    if not isinstance(sys.exception(), OperationalError | InterfaceError):
        return page_of(500)
    response = page_of(503)
    response.headers["Retry-After"] = RETRY_AFTER
    return response


def page_of(status: int) -> HttpResponse:
    return HttpResponse(render_to_string(f"{status}.html", {"reference": request_id.get()}), status=status)
