"""Check whether a session has shown a second factor, and whether its person signed in or was verified recently."""

import time
from collections.abc import Mapping
from typing import Any

from allauth.account.authentication import get_authentication_records
from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.contrib.sessions.backends.base import SessionBase
from django.http import HttpRequest

from .sessions import SIGNED_IN

SECOND_FACTOR = "second_factor"  # session key: the id of the user whose second factor this session has seen


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
