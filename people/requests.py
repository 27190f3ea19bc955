"""Tells the requests that an open page sends by itself from those of its user."""

from django.http import HttpRequest


def sent_by_itself(request: HttpRequest) -> bool:
    """Return whether an open page sent this request by itself, as when it updates, and not because of its user.

    htmx sends both kinds. Links and forms that people use are "boosted" by htmx, which it says in a header.
    """
    return "HX-Request" in request.headers and "HX-Boosted" not in request.headers
