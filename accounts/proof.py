"""Check whether a session has shown a second factor, and whether its person signed in or was verified recently."""

import time
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any

from allauth.account.adapter import get_adapter
from allauth.account.authentication import get_authentication_records
from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.contrib.auth.views import redirect_to_login
from django.contrib.sessions.backends.base import SessionBase
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponseBase

from .sessions import SIGNED_IN

SECOND_FACTOR = "second_factor"  # session key: the id of the user whose second factor this session has seen

View = Callable[..., HttpResponseBase]


def lacks_second_factor(user: AbstractBaseUser | AnonymousUser, session: SessionBase | Mapping[str, Any]) -> bool:
    """Return whether `user` must still show a second factor in this session. Makes no database query of its own."""
    if not settings.REQUIRE_MFA or not (getattr(user, "is_staff", False) or getattr(user, "is_superuser", False)):
        return False
    return bool(session.get(SECOND_FACTOR) != user.pk)


def proved_recently(request: HttpRequest) -> bool:
    """Return whether the person recently signed in, or entered the password or another proof again.

    Recently means less than ACCOUNT_REAUTHENTICATION_TIMEOUT seconds ago.
    """
    records = get_authentication_records(request, request.user)
    times = [request.session.get(SIGNED_IN, 0), *(record["at"] for record in records if record.get("reauthenticated"))]
    return bool(time.time() - max(times) < settings.ACCOUNT_REAUTHENTICATION_TIMEOUT)


def proof_required(view: View) -> View:
    """Decorate a view so that a POST needs a recent proof of identity, see `proved_recently`.

    Without one, redirect to allauth's page that asks for it; accounts/unsent.py keeps what was typed. allauth's own
    decorator would repeat the POST afterwards without asking, and show its answer at the URL of that page.
    """

    @wraps(view)
    def checked(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if request.method == "POST" and not proved_recently(request):
            ways = get_adapter().get_reauthentication_methods(request.user)
            if not ways:
                raise PermissionDenied
            return redirect_to_login(request.get_full_path(), ways[0]["url"])
        return view(request, *args, **kwargs)

    return checked
