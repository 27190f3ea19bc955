"""Make staff show a second factor: a code after the password, or a passkey."""

from typing import Any

from allauth.mfa.models import Authenticator
from allauth.mfa.utils import is_mfa_enabled
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect
from django.urls import Resolver404, resolve, reverse
from django.utils.http import urlencode
from django.utils.translation import gettext as _

from .proof import SECOND_FACTOR, lacks_second_factor

# The beginnings of the names of views that need no second factor.
OPEN = ("account_", "mfa_", "set_language", "clinic:livez", "clinic:readyz", "clinic:metrics")


def used(sender: object, request: HttpRequest, user: Any, **kwargs: Any) -> None:
    """Receive allauth's authenticator_used signal, and note in the session that `user` has shown a second factor."""
    request.session[SECOND_FACTOR] = user.pk


def added(sender: object, request: HttpRequest, user: Any, authenticator: Authenticator, **kwargs: Any) -> None:
    """Receive allauth's authenticator_added: setting up an app or a passkey also counts as showing a second factor."""
    if authenticator.type != Authenticator.Type.RECOVERY_CODES:
        request.session[SECOND_FACTOR] = user.pk


def detour(request: HttpRequest) -> HttpResponse | None:
    """Return None if the login session may see the page, else a redirect to show or set up the second factor.

    HTTP requests by htmx get status 403 instead of a redirect.
    """
    if not lacks_second_factor(request.user, request.session) or _is_open(request.path_info):
        return None
    if "HX-Request" in request.headers:
        return HttpResponse("A second factor is needed.", status=403, content_type="text/plain")
    codes, keys = (is_mfa_enabled(request.user, [kind]) for kind in ("totp", "webauthn"))
    if codes or keys:
        way = reverse("mfa_reauthenticate" if codes else "mfa_reauthenticate_webauthn")
        return HttpResponseRedirect(f"{way}?{urlencode({'next': request.get_full_path()})}")
    messages.warning(
        request,
        _("Staff accounts can take and refund payments, so they need a second step to sign in. Set one up now."),
    )
    return redirect("mfa_index")


def _is_open(path: str) -> bool:
    try:
        return (resolve(path).view_name or "").startswith(OPEN)
    except Resolver404:
        return True
