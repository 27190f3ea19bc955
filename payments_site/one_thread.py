"""Middleware that makes Django run the other middleware and the view in one thread."""

from collections.abc import Callable

from django.http import HttpRequest
from django.http.response import HttpResponseBase

Handler = Callable[[HttpRequest], HttpResponseBase]
ROOM = 16_000  # words, which make a chunk of 256 KB whose second half is free


def in_one_thread(get_response: Handler) -> Handler:
    """Call the view. As the last middleware, this makes Django call those before it in the request's thread as well.

    Otherwise each step of a middleware goes from the event loop to that thread and back, about twenty times a request,
    which takes a third of a short request's time. Django calls middleware directly if what it encloses is only
    synchronous, as this function is.
    """

    def middleware(request: HttpRequest) -> HttpResponseBase:
        return get_response(request)

    # CPython 3.11 and 3.12 keep frames in chunks of memory. Where a loop calls functions across a chunk's end, each
    # call maps a chunk and frees it; a page could take half as long again, depending only on how deep its stack was.
    # A large frame gets a large chunk, and the frames of what it calls fit into the rest.
    # https://github.com/python/cpython/issues/142183
    middleware.__code__ = middleware.__code__.replace(co_stacksize=ROOM)
    return middleware
