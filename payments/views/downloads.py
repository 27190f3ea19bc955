"""Answers with CSV files."""

from collections.abc import AsyncIterator, Iterable

from django.forms import Form
from django.http import HttpResponse, HttpResponseBase, StreamingHttpResponse

from ..desk.exports import to_the_end

CSV = "text/csv; charset=utf-8"


def streamed(lines: AsyncIterator[str], name: str) -> HttpResponseBase:
    """Return the lines as a CSV file to download; `name` is the file's name without its ending.

    The lines are sent while they are made. If an error is raised meanwhile, the last line says so.
    """
    return _named(StreamingHttpResponse(to_the_end(lines), content_type=CSV), name)


def whole(lines: Iterable[str], name: str) -> HttpResponseBase:
    """Return the lines as a CSV file to download. All are made first, so that an error is answered with status 500."""
    return _named(HttpResponse("".join(lines), content_type=CSV), name)


def refused(filters: Form) -> HttpResponse:
    """Return the answer, with status 400, that says what is wrong with these filters."""
    reasons = " ".join(str(error) for errors in filters.errors.values() for error in errors)
    return HttpResponse(reasons, status=400, content_type="text/plain; charset=utf-8")


def _named(response: HttpResponseBase, name: str) -> HttpResponseBase:
    response["Content-Disposition"] = f'attachment; filename="{name}.csv"'
    return response
