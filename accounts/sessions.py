"""End a session after some idle time, and after a day's work at the latest.

Both limits are written into the session's own expiry date, so pages, polls and sockets need no further check.
"""

import datetime
import time
from typing import Any

from django.conf import settings
from django.contrib.auth import SESSION_KEY
from django.contrib.sessions.backends.base import SessionBase
from django.http import HttpRequest

SIGNED_IN, ACTIVE = "signed_in_at", "active_at"  # session keys, Unix seconds
NOTE_EVERY = 60  # seconds; a note is a write to the database


def begin(sender: object, request: HttpRequest, **kwargs: Any) -> None:
    """Receive Django's user_logged_in, and start the session's time."""
    request.session[SIGNED_IN] = int(time.time())
    _extend(request.session)


def note_activity(request: HttpRequest) -> None:
    """Extend the session of a person who does something; htmx requests don't count, because pages send them alone."""
    session = request.session
    if "HX-Request" in request.headers or SESSION_KEY not in session:
        return
    if time.time() - session.get(ACTIVE, 0) >= NOTE_EVERY:
        _extend(session)


def _extend(session: SessionBase) -> None:
    now = int(time.time())
    session[ACTIVE] = now
    ends = min(now + settings.SESSION_COOKIE_AGE, session.setdefault(SIGNED_IN, now) + settings.SESSION_LONGEST)
    session.set_expiry(datetime.datetime.fromtimestamp(ends, datetime.UTC))
