"""Loads the login sessions of WebSockets, and finds the sockets that must be closed.

A socket must be closed when its login session has ended or its user may no longer read the feed. Both tasks take only
two queries for many sockets, because after a restart a thousand pages reconnect together.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY, get_user_model
from django.contrib.auth.models import AbstractUser
from django.contrib.sessions.base_session import AbstractBaseSession
from django.db.models import QuerySet
from django.utils import timezone
from django.utils.crypto import constant_time_compare

from accounts.proof import lacks_second_factor

from .feeds import audience_of, feed_of

SIGNED_OUT, NOT_ENTITLED = 4401, 4403  # close codes


@dataclass(frozen=True, slots=True)
class SocketSession:
    """The user, login session and audience ("staff" or "patient.<id>") of a socket, as they were when it opened.

    `password` is the hash of the user's password, kept so that a change of password is noticed.
    """

    user_id: int
    session_key: str
    password: str
    audience: str


def load_sessions(session_keys: Iterable[str]) -> dict[str, SocketSession]:
    """Return the valid login sessions with these keys (the values of session cookies), by key. Makes two queries.

    A key is left out if nobody is signed in with it, or if its user may not read any feed. Unlike Django's `get_user`,
    this function never changes a session.
    """
    store = import_module(settings.SESSION_ENGINE).SessionStore
    keys = {key for key in session_keys if store(key).session_key}
    stored = {key: store().decode(data) for key, data in _unexpired(keys).values_list("session_key", "session_data")}
    users = {str(user.pk): user for user in _active_users(data.get(SESSION_KEY) for data in stored.values())}
    found = [_socket_session(key, data, users.get(data.get(SESSION_KEY, ""))) for key, data in stored.items()]
    return {session.session_key: session for session in found if session}


def _socket_session(key: str, data: Mapping[str, Any], user: AbstractUser | None) -> SocketSession | None:
    """Return the login session if its `data` proves that `user` is signed in and may read a feed, else None."""
    if user is None or data.get(BACKEND_SESSION_KEY) not in settings.AUTHENTICATION_BACKENDS:
        return None
    if lacks_second_factor(user, data) or not (audience := audience_of(user)):
        return None
    hashes = (user.get_session_auth_hash(), *user.get_session_auth_fallback_hash())
    if not any(constant_time_compare(data.get(HASH_SESSION_KEY, ""), each) for each in hashes):
        return None
    return SocketSession(user.pk, key, user.password, audience)


def ended_sessions(sessions: Iterable[SocketSession]) -> dict[SocketSession, int]:
    """Return the login sessions whose sockets must be closed, each with the close code to send. Makes two queries.

    The database is queried because messages can get lost. So a sign-out, an expiry, a deactivation or the loss of a
    right is noticed even while the channel layer is down.
    """
    sessions = set(sessions)
    unexpired = set(_unexpired({session.session_key for session in sessions}).values_list("session_key", flat=True))
    # Values are loaded, not model instances, because there may be 2,000 users.
    users = _active_users(session.user_id for session in sessions).values_list("pk", "password", "is_staff")
    current = {key: (password, feed_of(key, is_staff=staff)) for key, password, staff in users}
    ended = {}
    for session in sessions:
        password, audience = current.get(session.user_id, (None, ""))
        if password != session.password or session.session_key not in unexpired:
            ended[session] = SIGNED_OUT
        elif audience != session.audience:
            ended[session] = NOT_ENTITLED
    return ended


def _unexpired(keys: set[str]) -> QuerySet[AbstractBaseSession]:
    store = import_module(settings.SESSION_ENGINE).SessionStore
    sessions: QuerySet[AbstractBaseSession] = store.get_model_class().objects.all()
    return sessions.filter(session_key__among=keys, expire_date__gt=timezone.now())


def _active_users(keys: Iterable[Any]) -> QuerySet[AbstractUser]:
    users: QuerySet[AbstractUser] = get_user_model()._default_manager.filter(is_active=True)
    return users.filter(pk__among={int(key) for key in keys if key})
