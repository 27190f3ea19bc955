"""How long a session lives: a while without its owner doing anything, and a day's work at most.

Both ends are the session's own expiry date, so pages, polls and sockets see it end without asking anything new.
"""

import datetime
import time
from typing import Any

from django.conf import settings
from django.contrib.auth import SESSION_KEY
from django.contrib.sessions.backends.base import SessionBase
from django.http import HttpRequest

SIGNED_IN, ACTIVE = "signed_in_at", "active_at"  # session keys, Unix seconds
EVERY = 60  # seconds between two notes of activity


def begin(sender: object, request: HttpRequest, **kwargs: Any) -> None:
    """Somebody has just signed in."""
    request.session[SIGNED_IN] = int(time.time())
    _note(request.session)


def keep(request: HttpRequest) -> None:
    """Note that a person did something. What a page asks by itself, it asks with htmx, and that keeps nothing alive."""
    session = request.session
    if "HX-Request" in request.headers or SESSION_KEY not in session:
        return
    if time.time() - session.get(ACTIVE, 0) >= EVERY:
        _note(session)


def _note(session: SessionBase) -> None:
    now = int(time.time())
    session[ACTIVE] = now
    ends = min(now + settings.SESSION_COOKIE_AGE, session.setdefault(SIGNED_IN, now) + settings.SESSION_LONGEST)
    session.set_expiry(datetime.datetime.fromtimestamp(ends, datetime.UTC))
