"""End a session after SESSION_COOKIE_AGE idle seconds, and at the latest SESSION_LONGEST seconds after sign-in.

Both limits are written into the session's own expiry date, so pages, polls and sockets need no further check.
"""

import datetime
import time
from typing import Any

from django.conf import settings
from django.contrib.auth import SESSION_KEY
from django.contrib.sessions.backends.base import SessionBase
from django.http import HttpRequest

from people.requests import sent_by_itself

SIGNED_IN, ACTIVE = "signed_in_at", "active_at"  # session keys, Unix seconds
NOTE_EVERY = 60  # seconds between extensions, because each one writes to the database


def begin(sender: object, request: HttpRequest, **kwargs: Any) -> None:
    """Receive Django's user_logged_in signal, note the sign-in time in the session and set its expiry date."""
    request.session[SIGNED_IN] = int(time.time())
    _extend(request.session)


def note_activity(request: HttpRequest) -> None:
    """Extend the login session, except for requests that an open page sends even while nobody uses it."""
    session = request.session
    if sent_by_itself(request) or SESSION_KEY not in session:
        return
    if time.time() - session.get(ACTIVE, 0) >= NOTE_EVERY:
        _extend(session)


def may_last_longer(session: SessionBase) -> bool:
    """Return whether activity can still move the session's end, which is then earlier than SESSION_LONGEST allows."""
    longest = session.get(SIGNED_IN, 0) + settings.SESSION_LONGEST
    return bool(session.get_expiry_date().timestamp() < longest)


def _extend(session: SessionBase) -> None:
    now = int(time.time())
    session[ACTIVE] = now
    ends = min(now + settings.SESSION_COOKIE_AGE, session.setdefault(SIGNED_IN, now) + settings.SESSION_LONGEST)
    session.set_expiry(datetime.datetime.fromtimestamp(ends, datetime.UTC))
