"""What pages ask of a project's way of signing in. A project answers by a subclass of SignIn.

The setting CLINIC_SIGN_IN is the dotted path of the subclass. Without this setting SignIn itself answers, which suits
Django's own sign-in: one step, no second proof before money moves, and no invitations by e-mail.
"""

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any

from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.contrib.auth.views import redirect_to_login
from django.contrib.sessions.backends.base import SessionBase
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import resolve_url
from django.urls import reverse
from django.utils.module_loading import import_string

from .conf import app_settings
from .models import PatientFields

View = Callable[..., HttpResponseBase]


class NotInvitableError(Exception):
    """Raised when a person can't be invited, for example because they were invited a moment ago."""


class SignIn:
    """How people of a project sign in, by Django's own pages alone."""

    steps: tuple[str, ...] = ()  # names of the URLs of steps of signing in, besides settings.LOGIN_URL
    views: tuple[str, ...] = ()  # how the names of the URLs begin whose views handle their own forms
    security_page = ""  # name of the URL where people change how they sign in; "": there is none

    @property
    def longest_session(self) -> int:
        """For how many seconds at most a page can stay open in one session."""
        return settings.SESSION_COOKIE_AGE

    def lacks_second_factor(
        self, user: AbstractBaseUser | AnonymousUser, session: SessionBase | Mapping[str, Any]
    ) -> bool:
        """Return whether `user` must still show a second factor in this session. May not query the database."""
        return False

    def proof_page(self, request: HttpRequest) -> str:
        """Return the path of the page on which the person must prove who they are before money moves; "": they needn't.

        That page gets the path to which it leads back in the parameter `next`. Raises PermissionDenied if the person
        has no way to prove it.
        """
        return ""

    def may_invite(self, person: PatientFields) -> bool:
        """Return whether the person can be invited by e-mail to choose a password."""
        return False

    def invite(self, request: HttpRequest, person: PatientFields) -> None:
        """E-mail an invitation to the person's address. Raises NotInvitableError."""
        raise NotInvitableError

    def address_changed(self, person: PatientFields) -> None:
        """Do what has to follow when the front desk has changed the person's e-mail address."""

    def forget(self, person: PatientFields) -> None:
        """Delete what else is stored about how this person signs in, because they are erased."""


def current() -> SignIn:
    """Return an instance of the class that the setting CLINIC_SIGN_IN names, or of SignIn."""
    found: SignIn = import_string(app_settings.CLINIC_SIGN_IN)()
    return found


def lacks_second_factor(user: AbstractBaseUser | AnonymousUser, session: SessionBase | Mapping[str, Any]) -> bool:
    """Return whether `user` must still show a second factor in this session."""
    return current().lacks_second_factor(user, session)


def step_paths() -> set[str]:
    """Return the paths of all steps of signing in, the first one included."""
    return {resolve_url(settings.LOGIN_URL), *(reverse(name) for name in current().steps)}


def proof_required(view: View) -> View:
    """Decorate a view so that a POST needs the proof of identity that the project asks for before money moves.

    Without the proof, redirect to the page that asks for it; unsent.py keeps what was typed.
    """

    @wraps(view)
    def checked(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if request.method == "POST" and (page := current().proof_page(request)):
            return redirect_to_login(request.get_full_path(), page)
        return view(request, *args, **kwargs)

    return checked
