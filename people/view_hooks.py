"""Turns functions that run before or after the view into middleware for both sync and async sites."""

from collections.abc import Awaitable, Callable
from typing import Any

from asgiref.sync import iscoroutinefunction, sync_to_async
from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.decorators import sync_and_async_middleware

Handler = Callable[[HttpRequest], Any]  # what Django calls get_response, sync or async
Middleware = Callable[[Handler], Callable[[HttpRequest], HttpResponseBase | Awaitable[HttpResponseBase]]]


def has_session(request: HttpRequest) -> bool:
    """Return whether the HTTP request has the cookie of a login session, valid or not."""
    return settings.SESSION_COOKIE_NAME in request.COOKIES


def before_view(
    look: Callable[[HttpRequest], HttpResponseBase | None], when: Callable[[HttpRequest], bool] = has_session
) -> Middleware:
    """Return a middleware that calls `look(request)` before the view, if `when(request)` is true.

    A response that `look` returns is sent instead of the view's, and the view isn't called. `look` may query the
    database. `when` may not, because under ASGI it is called in the event loop.
    """

    @sync_and_async_middleware
    def middleware(get_response: Handler) -> Handler:
        if not iscoroutinefunction(get_response):
            return lambda request: (when(request) and look(request)) or get_response(request)

        async def asynchronous(request: HttpRequest) -> HttpResponseBase:
            response = await sync_to_async(look)(request) if when(request) else None
            return response or await get_response(request)

        return asynchronous

    return middleware


def after_view(
    change: Callable[[HttpRequest, HttpResponseBase], HttpResponseBase],
    when: Callable[[HttpRequest, HttpResponseBase], bool] | None = None,
) -> Middleware:
    """Return a middleware that replaces each response by the result of `change(request, response)`.

    With `when`, it replaces only the responses for which `when(request, response)` is true. Under ASGI, `when` runs in
    the event loop and must not query the database; `change` may query it only if `when` is given.
    """

    @sync_and_async_middleware
    def middleware(get_response: Handler) -> Handler:
        if not iscoroutinefunction(get_response):

            def synchronous(request: HttpRequest) -> HttpResponseBase:
                response = get_response(request)
                return change(request, response) if when is None or when(request, response) else response

            return synchronous

        async def asynchronous(request: HttpRequest) -> HttpResponseBase:
            response = await get_response(request)
            if when is None:
                return change(request, response)
            return await sync_to_async(change)(request, response) if when(request, response) else response

        return asynchronous

    return middleware
