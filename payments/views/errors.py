"""What people see of a request that failed. Nothing is asked of the database, which may be what failed."""

from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string

from ..logs import request_id


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    return HttpResponse(render_to_string("400.html", {"reference": request_id.get()}), status=400)


def server_error(request: HttpRequest) -> HttpResponse:
    return HttpResponse(render_to_string("500.html", {"reference": request_id.get()}), status=500)
