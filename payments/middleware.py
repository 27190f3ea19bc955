from collections.abc import Awaitable, Callable
from typing import Any

from asgiref.sync import iscoroutinefunction, sync_to_async
from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.utils.decorators import sync_and_async_middleware

from accounts.proof import lacks_second_factor

from .live import audience_of
from .models import Feed


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
    return settings.SESSION_COOKIE_NAME in request.COOKIES and request.path != reverse("payments_live")


def read_cursor(request: HttpRequest) -> None:
    audience = audience_of(request.user)
    if audience and not lacks_second_factor(request.user, request.session):
        request.live_feed = audience  # type: ignore[attr-defined]
        request.live_cursor = Feed.objects.head_of(audience)  # type: ignore[attr-defined]


def mark(request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
    """The number on fragments; and no signed-in page in any cache, where the next person could find it."""
    if hasattr(request, "live_feed"):
        response.headers.setdefault("Cache-Control", "no-store, private")
    if "HX-Request" in request.headers and hasattr(request, "live_cursor"):
        response.headers.setdefault("X-Live-Seq", str(request.live_cursor))
    return response
