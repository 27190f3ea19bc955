"""Middleware: compression, security headers, caching, htmx of signed-out users, and the live feed's newest number."""

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.middleware.gzip import GZipMiddleware
from django.shortcuts import resolve_url
from django.urls import reverse
from django.utils.cache import patch_vary_headers
from django.utils.decorators import sync_and_async_middleware
from django_htmx.http import HttpResponseClientRedirect

from people.requests import sent_by_itself
from people.sign_in import lacks_second_factor, step_paths
from people.view_hooks import Handler, after_view, before_view, has_session

from .live.feeds import audience_of
from .models import Feed

HEADERS = {  # in addition to the headers that Django's SecurityMiddleware sets
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=()",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class CompressPages(GZipMiddleware):
    """Compress responses as Django does, but no streamed ones, such as CSV files.

    Django compresses each part of an asynchronous stream by itself, and browsers read the first part alone.
    """

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        return response if response.streaming else super().process_response(request, response)


@after_view
def security_headers(request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
    """Set each header in HEADERS, unless the response has set that header itself."""
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    return response


@after_view
def no_store(request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
    """Forbid caching of every response but static files, so that the computer's next user can't see it.

    Vary names the headers of htmx that change what pages answer, for caches that keep a response nevertheless. When
    htmx restores a page of the browser's history, it asks for the whole page.
    """
    if response.status_code >= 400 or not request.path.startswith(settings.STATIC_URL):
        response.headers["Cache-Control"] = "no-store, private"
        patch_vary_headers(response, ("HX-Request", "HX-Target", "HX-History-Restore-Request"))
    return response


@after_view
def htmx_sign_in(request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
    """Replace a redirect to a step of signing in if htmx made the request, which would insert that page as a fragment.

    If a page made the request by itself, a redirect to the sign-in page becomes a 401: the page stays, with all that
    was typed there, and live-source.js shows a link to sign in. If a person did, htmx opens the step as a page.
    """
    step = response.headers.get("Location", "").partition("?")[0]
    if "HX-Request" not in request.headers or step not in step_paths():
        return response
    if not sent_by_itself(request):
        answer = HttpResponseClientRedirect(response.headers["Location"])
        answer.cookies = response.cookies  # one holds the message that the step shows
        return answer
    if step == resolve_url(settings.LOGIN_URL):
        return HttpResponse("Signed out.", status=401, content_type="text/plain")
    return response


@after_view
def keep_address(request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
    """Tell htmx to leave the page's address as it is, unless the answer shows the day list or a part of it.

    htmx would else show the address of what it loads into a dialog or sends from a form, which no page has.
    """
    if "HX-Boosted" in request.headers and request.path != reverse("clinic:desk"):
        response.headers.setdefault("HX-Push-Url", "false")
    return response


def _may_show_payments(request: HttpRequest) -> bool:
    """Return whether the response may show payments; then the feed's newest number has to be read before the view runs.

    This is so if the request has a session cookie, except for a page's polls, because their view reads the number
    itself.
    """
    return has_session(request) and request.path != reverse("clinic:payments_live")


def _read_cursor(request: HttpRequest) -> None:
    audience = audience_of(request.user)
    if audience and not lacks_second_factor(request.user, request.session):
        request.live_feed = audience  # type: ignore[attr-defined]
        request.live_epoch, request.live_cursor = Feed.objects.of(audience).position  # type: ignore[attr-defined]


def _number_fragment(request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
    if "HX-Request" in request.headers and hasattr(request, "live_cursor"):
        response.headers.setdefault("X-Live-Seq", str(request.live_cursor))
        response.headers.setdefault("X-Live-Epoch", request.live_epoch)  # type: ignore[attr-defined]
    return response


@sync_and_async_middleware
def live_cursor(get_response: Handler) -> Handler:
    """Store in `request.live_cursor` the number of the newest entry in the user's feed (list of payment changes).

    `request.live_feed` names the feed and `request.live_epoch` its epoch. The page later requests the entries after
    this number. The number is read before the view runs; if it were read later, it could include a change that the page
    doesn't show. Responses to htmx have the number in the header X-Live-Seq, and its epoch in X-Live-Epoch.
    """
    return before_view(_read_cursor, when=_may_show_payments)(after_view(_number_fragment)(get_response))
