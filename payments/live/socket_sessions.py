"""Who holds a socket, and whether they still may: asked of the database for all of them together."""

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
class Holder:
    """Who opened a socket, as they were then. `password` is the stored hash, to notice its change."""

    user_id: int
    session_key: str
    password: str
    audience: str


def identify(session_keys: Iterable[str]) -> dict[str, Holder]:
    """Whom session cookies speak for; one that speaks for nobody is left out. Two queries, however many there are.

    Unlike Django's get_user it never changes a session.
    """
    store = import_module(settings.SESSION_ENGINE).SessionStore
    keys = {key for key in session_keys if store(key).session_key}
    sessions = {key: store().decode(data) for key, data in _living(keys).values_list("session_key", "session_data")}
    users = {str(user.pk): user for user in _people(session.get(SESSION_KEY) for session in sessions.values())}
    found = [_holder(key, session, users.get(session.get(SESSION_KEY, ""))) for key, session in sessions.items()]
    return {holder.session_key: holder for holder in found if holder}


def _holder(key: str, session: Mapping[str, Any], user: AbstractUser | None) -> Holder | None:
    if user is None or session.get(BACKEND_SESSION_KEY) not in settings.AUTHENTICATION_BACKENDS:
        return None
    if lacks_second_factor(user, session) or not (audience := audience_of(user)):
        return None
    hashes = (user.get_session_auth_hash(), *user.get_session_auth_fallback_hash())
    if not any(constant_time_compare(session.get(HASH_SESSION_KEY, ""), each) for each in hashes):
        return None
    return Holder(user.pk, key, user.password, audience)


def lapsed(holders: Iterable[Holder]) -> dict[Holder, int]:
    """Those whose right has ended, with the close code that says why. Two queries, however many there are.

    Asking the database notices sign-out, expiry, deactivation and lost rights whoever caused them, in whatever
    process, and also while the channel layer is down.
    """
    holders = set(holders)
    sessions = set(_living({holder.session_key for holder in holders}).values_list("session_key", flat=True))
    people = _people(holder.user_id for holder in holders).values_list("pk", "password", "is_staff")  # no 2,000 models
    now = {key: (password, feed_of(key, is_staff=staff)) for key, password, staff in people}
    ended = {}
    for holder in holders:
        password, audience = now.get(holder.user_id, (None, ""))
        if password != holder.password or holder.session_key not in sessions:
            ended[holder] = SIGNED_OUT
        elif audience != holder.audience:
            ended[holder] = NOT_ENTITLED
    return ended


def _living(keys: set[str]) -> QuerySet[AbstractBaseSession]:
    store = import_module(settings.SESSION_ENGINE).SessionStore
    sessions: QuerySet[AbstractBaseSession] = store.get_model_class().objects.all()
    return sessions.filter(session_key__among=keys, expire_date__gt=timezone.now())


def _people(keys: Iterable[Any]) -> QuerySet[AbstractUser]:
    people: QuerySet[AbstractUser] = get_user_model()._default_manager.filter(is_active=True)
    return people.filter(pk__among={int(key) for key in keys if key})
