from collections.abc import Awaitable, Callable
from typing import Any

from asgiref.sync import iscoroutinefunction, sync_to_async
from django.conf import settings
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import resolve_url
from django.urls import reverse
from django.utils.decorators import sync_and_async_middleware

from accounts.proof import lacks_second_factor

from .live.feeds import audience_of
from .models import Feed

HEADERS = {  # beside Django's own, for every answer
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=()",
    "Cross-Origin-Resource-Policy": "same-origin",
}


@sync_and_async_middleware
def live_cursor(
    get_response: Callable[[HttpRequest], Any],
) -> Callable[[HttpRequest], HttpResponseBase | Awaitable[HttpResponseBase]]:
    """Read, before the view reads anything, the number up to which the page will be right.

    Later changes are told to the page; read after the rows, one could fall between. Fragments that htmx fetches
    bear the number as X-Live-Seq.
    """
    if not iscoroutinefunction(get_response):

        def middleware(request: HttpRequest) -> HttpResponseBase:
            if wants_cursor(request):
                read_cursor(request)
            return mark(request, get_response(request))

        return middleware

    async def async_middleware(request: HttpRequest) -> HttpResponseBase:
        if wants_cursor(request):
            await sync_to_async(read_cursor)(request)
        return mark(request, await get_response(request))

    return async_middleware


def wants_cursor(request: HttpRequest) -> bool:
    """Whether a signed-in person may get something that shows payments. The poll reads the number by itself."""
    return settings.SESSION_COOKIE_NAME in request.COOKIES and request.path != reverse("clinic:payments_live")


def read_cursor(request: HttpRequest) -> None:
    audience = audience_of(request.user)
    if audience and not lacks_second_factor(request.user, request.session):
        request.live_feed = audience  # type: ignore[attr-defined]
        request.live_cursor = Feed.objects.head_of(audience)  # type: ignore[attr-defined]


def mark(request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
    """The number on fragments; and no signed-in page in any cache, where the next person could find it."""
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    if hasattr(request, "live_feed"):
        response.headers.setdefault("Cache-Control", "no-store, private")
    if "HX-Request" in request.headers and hasattr(request, "live_cursor"):
        response.headers.setdefault("X-Live-Seq", str(request.live_cursor))
    return sign_in_instead(request) if asks_to_sign_in(request, response) else response


def asks_to_sign_in(request: HttpRequest, response: HttpResponseBase) -> bool:
    """Whether htmx, which follows redirects, would fill a fragment's place with the sign-in page."""
    sign_in = resolve_url(settings.LOGIN_URL)
    return "HX-Request" in request.headers and response.headers.get("Location", "").startswith(f"{sign_in}?")


def sign_in_instead(request: HttpRequest) -> HttpResponse:
    """The whole page goes to sign in, and comes back to where it was."""
    page = getattr(request, "htmx", None) and request.htmx.current_url_abs_path  # type: ignore[attr-defined]
    response = HttpResponse("Signed out.", status=401, content_type="text/plain")
    response.headers["HX-Redirect"] = redirect_to_login(page or "/").url
    return response
