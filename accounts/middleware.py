"""Middleware that keeps active sessions alive, asks for second factors, and clears the browser's data on sign-out."""

from collections.abc import Awaitable, Callable
from typing import Any

from asgiref.sync import iscoroutinefunction, sync_to_async
from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.decorators import sync_and_async_middleware

from . import second_factor, sessions

GetResponse = Callable[[HttpRequest], Any]
Middleware = Callable[[GetResponse], Callable[[HttpRequest], HttpResponseBase | Awaitable[Any]]]


def _before_view(look: Callable[[HttpRequest], HttpResponseBase | None]) -> Middleware:
    """Return a middleware that calls `look` with each request that has a session cookie, before the view.

    If `look` returns a response, that is sent and the view isn't called.
    """

    @sync_and_async_middleware
    def middleware(get_response: GetResponse) -> Callable[[HttpRequest], HttpResponseBase | Awaitable[Any]]:
        if not iscoroutinefunction(get_response):
            return lambda request: (_has_session(request) and look(request)) or get_response(request)

        async def asynchronous(request: HttpRequest) -> HttpResponseBase:
            response = await sync_to_async(look)(request) if _has_session(request) else None
            return response or await get_response(request)

        return asynchronous

    return middleware


def _has_session(request: HttpRequest) -> bool:
    return settings.SESSION_COOKIE_NAME in request.COOKIES


note_activity = _before_view(sessions.note_activity)
require_second_factor = _before_view(second_factor.detour)


@sync_and_async_middleware
def clear_site_data(get_response: GetResponse) -> Callable[[HttpRequest], HttpResponseBase | Awaitable[Any]]:
    """Tell the browser to delete this site's cache and storage when a person signs out.

    The session cookie needs no such header, because Django deletes it.
    """
    if not iscoroutinefunction(get_response):
        return lambda request: _cleared(request, get_response(request))

    async def asynchronous(request: HttpRequest) -> HttpResponseBase:
        return _cleared(request, await get_response(request))

    return asynchronous


def signed_out(sender: object, request: HttpRequest | None, **kwargs: Any) -> None:
    """Receive Django's user_logged_out signal, and mark the request for the middleware `clear_site_data`."""
    if request is not None:
        request.signed_out = True  # type: ignore[attr-defined]


def _cleared(request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
    if getattr(request, "signed_out", False):
        response.headers["Clear-Site-Data"] = '"cache", "storage"'
    return response
