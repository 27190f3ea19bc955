"""Loads the login sessions of WebSockets, and finds the sockets that must be closed.

A socket must be closed when its login session has ended or its user may no longer read the feed. Both tasks take only
two queries for many sockets, because after a restart a thousand pages reconnect together.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from importlib import import_module
from typing import Any

from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY, get_user_model
from django.contrib.auth.models import AbstractUser
from django.contrib.sessions.base_session import AbstractBaseSession
from django.db.models import QuerySet, Subquery
from django.utils import timezone
from django.utils.crypto import constant_time_compare

from people.models import AccessVersion
from people.sign_in import lacks_second_factor

from .feeds import audience_of, feed_of

SIGNED_OUT, NOT_ENTITLED = 4401, 4403  # close codes


@dataclass(slots=True, unsafe_hash=True)
class SocketSession:
    """The user, login session and audience ("staff" or "patient.<id>") of a socket, as they were when it opened.

    `password` is the hash of the user's password, kept so that a change of password is noticed. The session was valid
    at the access version `access` (see people/access.py); it expires at `expires`, unless its user extends it.
    """

    user_id: int
    session_key: str
    password: str
    audience: str
    access: int = field(compare=False)
    expires: datetime = field(compare=False)


def load_sessions(session_keys: Iterable[str]) -> dict[str, SocketSession]:
    """Return the valid login sessions with these keys (the values of session cookies), by key. Makes two queries.

    A key is left out if nobody is signed in with it, or if its user may not read any feed. Unlike Django's `get_user`,
    this function never changes a session.
    """
    store = import_module(settings.SESSION_ENGINE).SessionStore
    keys = {key for key in session_keys if store(key).session_key}
    access = Subquery(AccessVersion.objects.values("number"))
    rows = list(_unexpired(keys).values_list("session_key", "session_data", "expire_date", access))
    stored = {key: store().decode(data) for key, data, _expires, _access in rows}
    users = {str(user.pk): user for user in _active_users(data.get(SESSION_KEY) for data in stored.values())}
    found = {}
    for key, _data, expires, version in rows:
        user = users.get(stored[key].get(SESSION_KEY, ""))
        if user and (audience := _audience_in(stored[key], user)):
            found[key] = SocketSession(user.pk, key, user.password, audience, version, expires)
    return found


def _audience_in(data: Mapping[str, Any], user: AbstractUser) -> str:
    """Return the audience whose feed may be read in a login session, or "" if its `data` don't prove that.

    `user` is the active user whose id is in the data.
    """
    hashes = (user.get_session_auth_hash(), *user.get_session_auth_fallback_hash())
    if (
        data.get(BACKEND_SESSION_KEY) not in settings.AUTHENTICATION_BACKENDS
        or lacks_second_factor(user, data)
        or not any(constant_time_compare(data.get(HASH_SESSION_KEY, ""), each) for each in hashes)
    ):
        return ""
    return audience_of(user)


def ended_sessions(sessions: Collection[SocketSession], access: int) -> dict[SocketSession, int]:
    """Return the login sessions whose sockets must be closed, each with the close code to send. Makes two queries.

    `access` is the access version that was read before. Update `access` and `expires` of the sessions that go on.
    """
    keys = {session.session_key for session in sessions}
    expiry = dict(_unexpired(keys).values_list("session_key", "expire_date"))
    # Values are loaded, not model instances, because there may be 2,000 users.
    users = _active_users({session.user_id for session in sessions}).values_list("pk", "password", "is_staff")
    current = {key: (password, feed_of(key, is_staff=staff)) for key, password, staff in users}
    ended = {}
    for session in sessions:
        password, audience = current.get(session.user_id, (None, ""))
        if password != session.password or session.session_key not in expiry:
            ended[session] = SIGNED_OUT
        elif audience != session.audience:
            ended[session] = NOT_ENTITLED
        else:
            session.access, session.expires = access, expiry[session.session_key]
    return ended


def _unexpired(keys: set[str]) -> QuerySet[AbstractBaseSession]:
    store = import_module(settings.SESSION_ENGINE).SessionStore
    sessions: QuerySet[AbstractBaseSession] = store.get_model_class().objects.all()
    return sessions.filter(session_key__among=keys, expire_date__gt=timezone.now())


def _active_users(keys: Iterable[Any]) -> QuerySet[AbstractUser]:
    users: QuerySet[AbstractUser] = get_user_model()._default_manager.filter(is_active=True)
    return users.filter(pk__among={int(key) for key in keys if key})
