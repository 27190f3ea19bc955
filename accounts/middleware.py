"""Middleware that keeps active sessions, asks for second factors, and clears data on sign-out."""

from typing import Any

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from people.view_hooks import after_view, before_view

from . import second_factor, sessions

note_activity = before_view(sessions.note_activity)
require_second_factor = before_view(second_factor.detour)


@after_view
def clear_site_data(request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
    """Tell the browser to delete this site's cache and storage when a person signs out.

    The session cookie needs no such header, because Django deletes it.
    """
    if getattr(request, "signed_out", False):
        response.headers["Clear-Site-Data"] = '"cache", "storage"'
    return response


def signed_out(sender: object, request: HttpRequest | None, **kwargs: Any) -> None:
    """Receive Django's user_logged_out signal, and mark the HTTP request for the middleware `clear_site_data`."""
    if request is not None:
        request.signed_out = True  # type: ignore[attr-defined]
