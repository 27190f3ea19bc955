"""Who holds a socket, and whether they still may: asked of the database for all of them together."""

from collections.abc import Iterable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY, get_user_model, load_backend
from django.utils import timezone
from django.utils.crypto import constant_time_compare

from accounts.proof import lacks_second_factor

from .live import audience_of

SIGNED_OUT, NOT_ENTITLED = 4401, 4403  # close codes


@dataclass(frozen=True, slots=True)
class Holder:
    """Who opened a socket, as they were then. `password` is the stored hash, to notice its change."""

    user_id: int
    session_key: str
    password: str
    audience: str


def identify(session_key: str) -> Holder | None:
    """Who a session cookie speaks for; None for nobody. Unlike Django's get_user it never changes the session."""
    session = _store()(session_key)
    user_id, known_hash = session.get(SESSION_KEY), session.get(HASH_SESSION_KEY, "")
    if user_id is None or session.get(BACKEND_SESSION_KEY) not in settings.AUTHENTICATION_BACKENDS:
        return None
    user = load_backend(session[BACKEND_SESSION_KEY]).get_user(user_id)
    if user is None or lacks_second_factor(user, session) or not (audience := audience_of(user)):
        return None
    hashes = (user.get_session_auth_hash(), *user.get_session_auth_fallback_hash())
    if not any(constant_time_compare(known_hash, each) for each in hashes):
        return None
    return Holder(user.pk, session_key, user.password, audience)


def lapsed(holders: Iterable[Holder]) -> dict[Holder, int]:
    """Those whose right has ended, with the close code that says why. Two queries, however many there are.

    Asking the database notices sign-out, expiry, deactivation and lost rights whoever caused them, in whatever
    process, and also while the channel layer is down.
    """
    holders = set(holders)
    users = get_user_model()._default_manager.in_bulk({holder.user_id for holder in holders})
    sessions = _living({holder.session_key for holder in holders})
    ended = {}
    for holder in holders:
        user = users.get(holder.user_id)
        if user is None or not user.is_active or user.password != holder.password or holder.session_key not in sessions:
            ended[holder] = SIGNED_OUT
        elif audience_of(user) != holder.audience:
            ended[holder] = NOT_ENTITLED
    return ended


def _living(keys: set[str]) -> set[str]:
    store = _store()
    if not hasattr(store, "get_model_class"):  # not kept in the database: ask one by one
        return {key for key in keys if store().exists(key)}
    sessions = store.get_model_class().objects.filter(session_key__in=keys, expire_date__gt=timezone.now())
    return set(sessions.values_list("session_key", flat=True))


def _store() -> Any:
    return import_module(settings.SESSION_ENGINE).SessionStore
