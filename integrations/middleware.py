"""Middleware of the HTTP API: no cookie counts there, texts are English, and every error is a problem document."""

from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.decorators import sync_and_async_middleware

from payments.addresses import mounted_path
from people.view_hooks import Handler, after_view, before_view

from .api.problems import MEDIA_TYPE, Problem


def api_prefix() -> str:
    """Return how the paths of the API begin, as `path_info`."""
    return mounted_path("integrations:openapi").removesuffix("openapi.json")


def _is_ours(request: HttpRequest) -> bool:
    return request.path_info.startswith(api_prefix())


def _prepare(request: HttpRequest) -> HttpResponseBase | None:
    """Make the request one without a session, in English; return an answer if it came over plain HTTP.

    A redirect to HTTPS, as pages get, would let a client go on sending its key over plain HTTP. The page about the API
    keeps its cookies: it would else give its reader another CSRF token, with which forms in other tabs are refused.
    """
    if request.path_info != mounted_path("integrations:api_docs"):
        request.COOKIES = {}
    request.META["HTTP_ACCEPT_LANGUAGE"] = "en"
    if settings.SECURE_SSL_REDIRECT and not request.is_secure():
        return Problem(403, "Use https. Revoke an API key that was sent over plain HTTP.").response()
    return None


def _as_problem(request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
    """Return an API's error page as problem details, with the page's headers; return other responses as they are."""
    if not _is_ours(request) or response.status_code < 400 or response.headers.get("Content-Type") == MEDIA_TYPE:
        return response
    problem = Problem(response.status_code).response()
    for name in ("Allow", "Retry-After"):
        if name in response.headers:
            problem.headers[name] = response.headers[name]
    return problem


@sync_and_async_middleware
def api_answers(get_response: Handler) -> Handler:
    """Remove cookies and languages from requests to the API, and answer each error with problem details."""
    return before_view(_prepare, when=_is_ours)(after_view(_as_problem)(get_response))
