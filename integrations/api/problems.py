"""Errors of the HTTP API: problem details as RFC 9457 describes them.

Their texts are English, because programmers read them. `errors` names each wrong field by its JSON pointer, each wrong
parameter and each wrong header by its name.
"""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from django.http import JsonResponse

from payments.addresses import absolute
from payments.logs import request_id

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER = {429: 60, 503: 60}  # seconds, if nothing better is known

# What each status means to a program. `api/docs/` shows these texts, and a problem's `type` leads there.
MEANINGS = {
    400: "The request is malformed: its body is no JSON, or it carries a key in its address.",
    401: "The request has no valid API key.",
    403: "The API key lacks a scope, or the request came over plain HTTP.",
    404: "Nothing has this address or id.",
    405: "This address doesn’t answer this method; the header Allow lists those that it answers.",
    408: "The body took too long to arrive.",
    409: "The request doesn’t fit the present state; `detail` says what to do.",
    413: "The body is too large.",
    415: "The body isn’t declared as application/json.",
    422: "A field, a parameter or a header has a wrong value; `errors` has an entry for each.",
    429: "Too many requests; the header Retry-After says how many seconds to wait.",
    431: "The headers are too large.",
    500: "The site failed. The log has the details under the problem’s `request_id`. Nothing was stored for the"
    " Idempotency-Key, so the request can be repeated with it.",
    503: "The database doesn’t answer or is busy; repeat the request after the seconds in the header Retry-After.",
}


class Problem(Exception):
    """An error that a request is answered with. `more` are further members of the problem's JSON object."""

    def __init__(
        self,
        status: int,
        detail: str = "",
        *,
        errors: Sequence[Mapping[str, str]] = (),
        headers: Mapping[str, str] | None = None,
        **more: object,
    ) -> None:
        super().__init__(status, detail)
        self.status, self.detail, self.headers, self.more = status, detail, headers or {}, more
        self.errors = list(errors)

    def response(self) -> JsonResponse:
        """Return the problem as an HTTP response. Its `request_id` is the one in the header X-Request-ID."""
        content: dict[str, Any] = {
            "type": f"{absolute('integrations:api_docs')}#problem-{self.status}",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail or MEANINGS.get(self.status, ""),
            "request_id": request_id.get(),
            **self.more,
        }
        if self.errors:
            content["errors"] = self.errors
        response = JsonResponse(content, status=self.status, content_type=MEDIA_TYPE)
        if self.status in RETRY_AFTER:
            response.headers["Retry-After"] = str(RETRY_AFTER[self.status])
        for name, value in self.headers.items():
            response.headers[name] = value
        return response


def pointer_to(*path: object) -> str:
    """Return the JSON pointer (RFC 6901), as a URI fragment, to the part of the body at this path."""
    return "#" + "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)


def wrong_field(name: str, detail: str) -> Problem:
    """Return the problem that a field of the body has a wrong value, which the sentence `detail` explains."""
    return Problem(422, errors=[{"pointer": pointer_to(name), "detail": detail}])
