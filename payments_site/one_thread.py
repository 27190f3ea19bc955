"""A middleware with which Django runs the other middleware and the view of a request in one thread."""

from collections.abc import Callable

from django.http import HttpRequest
from django.http.response import HttpResponseBase

Handler = Callable[[HttpRequest], HttpResponseBase]
ROOM = 16_000  # words, which make a chunk of 256 KB whose second half is free


def in_one_thread(get_response: Handler) -> Handler:
    """Return a synchronous handler that calls the view. This middleware must be the last in MIDDLEWARE.

    Django calls a middleware directly if the handler inside it is synchronous. Without this one, each middleware takes
    the request from the event loop to a thread and back: twenty times, a third of a short request's time.
    """

    def middleware(request: HttpRequest) -> HttpResponseBase:
        return get_response(request)

    # CPython 3.11 and 3.12 keep frames in chunks of memory. Where a loop calls functions across a chunk's end, each
    # call maps a chunk and frees it. A page took up to twice as long, depending only on how deep its stack was.
    # A large frame gets a large chunk, and the frames of what it calls fit into the rest.
    # https://github.com/python/cpython/issues/142183
    middleware.__code__ = middleware.__code__.replace(co_stacksize=ROOM)
    return middleware
