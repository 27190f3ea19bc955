"""Whether those who hold a socket may still hold it: asked of the database for all of them together."""

from collections.abc import Iterable
from dataclasses import dataclass
from importlib import import_module

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractBaseUser
from django.utils import timezone

from .live import audience_of

SIGNED_OUT, NOT_ENTITLED = 4401, 4403  # close codes


@dataclass(frozen=True, slots=True)
class Holder:
    """Who opened a socket, as they were then. `password` is the stored hash, to notice its change."""

    user_id: int
    session_key: str
    password: str
    audience: str


def holder(user: AbstractBaseUser, session_key: str) -> Holder:
    return Holder(user.pk, session_key, user.password, audience_of(user))


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
    store = import_module(settings.SESSION_ENGINE).SessionStore
    if not hasattr(store, "get_model_class"):  # not kept in the database: ask one by one
        return {key for key in keys if store().exists(key)}
    sessions = store.get_model_class().objects.filter(session_key__in=keys, expire_date__gt=timezone.now())
    return set(sessions.values_list("session_key", flat=True))
