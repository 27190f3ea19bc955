"""Error pages. They don't query the database, because it may be what failed."""

import sys

from django.core.exceptions import RequestDataTooBig
from django.db import DataError, InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.urls import reverse

from ..logs import request_id
from .access import TooManyReads

RETRY_AFTER = {429: "60", 503: "60"}  # seconds
STATUSES: dict[type[Exception], int] = {RequestDataTooBig: 413, TooManyReads: 429}  # any other exception: 400


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Render the error page for a bad request (Django's handler400); STATUSES maps the exception to 413, 429 or 400."""
    return page_of(STATUSES.get(type(exception), 400))


def server_error(request: HttpRequest) -> HttpResponse:
    """Render the error page for an exception (Django's handler500).

    The status is 503 when the database does not answer, is locked or is full, because a retry may work, and 400 when a
    filter in the address of an admin page is beyond what the database can compare, which Django notices late. Else 500.
    """
    looked_up = request.method in ("GET", "HEAD") and request.path.startswith(reverse("admin:index"))
    if looked_up and isinstance(sys.exception(), DataError | OverflowError):
        return page_of(400)
    return page_of(503 if isinstance(sys.exception(), OperationalError | InterfaceError) else 500)


def page_of(status: int) -> HttpResponse:
    """Render the error page of this HTTP status. It shows the request's id, which the log contains too."""
    response = HttpResponse(render_to_string(f"{status}.html", {"reference": request_id.get()}), status=status)
    if status in RETRY_AFTER:
        response.headers["Retry-After"] = RETRY_AFTER[status]
    return response
