from collections.abc import Awaitable, Callable
from typing import Any

from asgiref.sync import iscoroutinefunction, sync_to_async
from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.decorators import sync_and_async_middleware

from . import second_factor, sessions


@sync_and_async_middleware
def guard(get_response: Callable[[HttpRequest], Any]) -> Callable[[HttpRequest], HttpResponseBase | Awaitable[Any]]:
    """Keep the session of who does something, and lead staff without a second factor to it."""
    if not iscoroutinefunction(get_response):

        def middleware(request: HttpRequest) -> HttpResponseBase:
            return leave(request, look(request) or get_response(request))

        return middleware

    async def async_middleware(request: HttpRequest) -> HttpResponseBase:
        response = await sync_to_async(look)(request) if has_session(request) else None
        return leave(request, response or await get_response(request))

    return async_middleware


def signed_out(sender: object, request: HttpRequest | None, **kwargs: Any) -> None:
    """The receiver of Django's signal."""
    if request is not None:
        request.signed_out = True  # type: ignore[attr-defined]


def leave(request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
    """Whoever uses this browser next finds nothing of who signed out (cookies are deleted or changed by themselves)."""
    if getattr(request, "signed_out", False):
        response.headers["Clear-Site-Data"] = '"cache", "storage"'
    return response


def has_session(request: HttpRequest) -> bool:
    return settings.SESSION_COOKIE_NAME in request.COOKIES


def look(request: HttpRequest) -> HttpResponseBase | None:
    if not has_session(request):
        return None
    sessions.keep(request)
    return second_factor.detour(request)
