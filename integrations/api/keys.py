"""Finds the API key with which a request is made."""

import logging
import math
import uuid

from django.http import HttpRequest

from ..conf import app_settings
from ..models import ApiKey
from ..models.api_key import Scope, WrongKeyError
from .problems import Problem
from .rates import Rate

logger = logging.getLogger(__name__)

WRONG_KEYS_A_MINUTE = 20  # from one address; valid keys from that address still open everything
IN_ADDRESS = ("key", "api_key", "apikey", "token", "access_token")  # parameters in which others carry keys

used, mistaken = Rate(), Rate()


class KeyRequest(HttpRequest):
    """An HttpRequest with a valid API key; only type annotations use this class.

    `effect` is the key under which an entry at the desk is recorded, so that a repeated request records it once.
    """

    api_key: ApiKey
    effect: uuid.UUID
    body_json: object


def authorize(request: HttpRequest, scope: Scope) -> ApiKey:
    """Return the request's API key, and keep it in `request.api_key`.

    Raises Problem if the request has no valid key, or one without `scope` or with which too many requests were made.
    """
    refuse_keys_in_address(request)
    key = _valid_key(request)
    if wait := used.wait(str(key.pk), app_settings.CLINIC_API_REQUESTS_PER_MINUTE):
        raise _too_many(wait, f"This key may make {app_settings.CLINIC_API_REQUESTS_PER_MINUTE} requests a minute.")
    request.api_key = key  # type: ignore[attr-defined]
    key.note_use()
    if scope not in key.scopes:
        challenge = f'Bearer realm="api", error="insufficient_scope", scope="{scope}"'
        words = f"The API key lacks the scope “{scope}”. A superuser can give it in the admin."
        raise Problem(403, words, headers={"WWW-Authenticate": challenge}, missing_scope=scope.value)
    return key


def _too_many(wait: float, words: str) -> Problem:
    return Problem(429, words, headers={"Retry-After": str(math.ceil(wait))})


def refuse_keys_in_address(request: HttpRequest) -> None:
    """Raise Problem if a parameter of the address seems to be a key: proxies and browsers store addresses."""
    if named := [name for name in IN_ADDRESS if name in request.GET]:
        words = f"An API key must not be in the address (`{named[0]}`), because addresses are logged."
        raise Problem(400, f"{words} Send it in the header `Authorization: Bearer …`, and revoke this one.")


def bearer_of(header: str) -> str:
    """Return the token in the value of an Authorization header, or "" if it isn't `Bearer` and a token."""
    scheme, _, token = header.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _valid_key(request: HttpRequest) -> ApiKey:
    header = request.headers.get("Authorization", "")
    if not header:
        words = "Send an API key in the header `Authorization: Bearer …`. Cookies don’t sign in here."
        raise Problem(401, words, headers={"WWW-Authenticate": 'Bearer realm="api"'})
    try:
        return ApiKey.objects.find(bearer_of(header))
    except WrongKeyError as error:
        address = request.META.get("REMOTE_ADDR", "")
        if wait := mistaken.wait(address, WRONG_KEYS_A_MINUTE):
            raise _too_many(wait, "Too many wrong API keys came from this address.") from error
        logger.warning("api_key_refused")
        challenge = {"WWW-Authenticate": 'Bearer realm="api", error="invalid_token"'}
        raise Problem(401, str(error), headers=challenge) from error
