"""Adapt django-allauth (https://docs.allauth.org) to a clinic.

Nobody can sign up. If wrong passwords lock a user name, its owner is warned. E-mails are sent in the background.
"""

import functools
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

from allauth.account.adapter import DefaultAccountAdapter
from allauth.core import context
from allauth.core.internal import ratelimit
from allauth.mfa.adapter import DefaultMFAAdapter
from django.conf import settings
from django.contrib.auth import update_session_auth_hash
from django.core.cache import cache
from django.http import HttpRequest
from django.urls import reverse
from django.utils.translation import gettext_lazy as _
from django.utils.translation import override

from .mail import send_soon
from .models import User
from .proof import proved_recently

WARN_AGAIN_AFTER = 60 * 60  # seconds


class AccountAdapter(DefaultAccountAdapter):  # type: ignore[misc]
    error_messages = DefaultAccountAdapter.error_messages | {
        "username_password_mismatch": _("Wrong user name or password. Both are case-sensitive.")
    }

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        """Return False, because the clinic makes all accounts."""
        return False

    def _get_login_attempts_cache_key(self, request: HttpRequest, **credentials: Any) -> str:
        """Return the cache key under which allauth counts wrong passwords; it includes the client's IP address.

        Wrong passwords thus lock a user name for that address only, and its owner can sign in from elsewhere.
        """
        name = super()._get_login_attempts_cache_key(request, **credentials)
        return f"{name}:{self.get_client_ip(request)}"

    def authentication_failed(self, request: HttpRequest, **credentials: Any) -> None:
        """E-mail the account's owner, at most once an hour, if too many wrong passwords have locked the user name."""
        key = self._get_login_attempts_cache_key(request, **credentials)
        about = {"app": "allauth.account", "action": "login_failed", "config": {"login_failed": settings.GUESSES}}
        if ratelimit.consume(request, key=key, dry_run=True, **about):
            return
        user = User.objects.filter(username=credentials.get("username"), is_active=True).exclude(email="").first()
        if user and cache.add(f"accounts.locked.{user.pk}", 1, WARN_AGAIN_AFTER):
            link = settings.CLINIC_SITE_URL + reverse("account_reset_password")
            context = {"address": self.get_client_ip(request), "clinic": settings.CLINIC_NAME, "link": link}
            with override(user.preferred_language or settings.LANGUAGE_CODE):  # the request may be an attacker's
                self.send_mail("account/email/locked", user.email, context)

    def reauthenticate(self, user: User, password: str) -> bool:
        """Return whether the password is right.

        Checking a password that has an outdated hash stores a new hash, which ends the account's sessions. This method
        keeps the person's own session valid, so that they stay signed in.
        """
        if not super().reauthenticate(user, password):
            return False
        stored = user.password
        user.refresh_from_db(fields=["password"])
        if user.password != stored:
            update_session_auth_hash(context.request, user)
        return True

    def is_reauthentication_required(self, *, app: str, **kwargs: Any) -> bool:
        """Return whether the person has to prove their identity again, because they haven't done so recently.

        A recent sign-in suffices as proof, unlike in allauth's own method.
        """
        return not proved_recently(context.request)

    def send_password_reset_mail(self, user: User, email: str, context: dict[str, Any]) -> None:
        """Send the link only if `email` is the account's present address, not one that the clinic has replaced."""
        if email.lower() == user.email.lower():
            super().send_password_reset_mail(user, email, context)

    def get_reset_password_from_key_url(self, key: str) -> str:
        """Return the link's address at SITE_URL: the request's Host header, with any port, is the sender's choice."""
        return f"{settings.CLINIC_SITE_URL}{urlsplit(super().get_reset_password_from_key_url(key)).path}"

    def send_mail(self, template_prefix: str, email: str, context: dict[str, Any]) -> None:
        """Send the e-mail in the background, with `send_soon`.

        It speaks with the clinic's name and SITE_URL: the host that the request names is its sender's choice.
        """
        about = {
            "current_site": SimpleNamespace(
                name=settings.CLINIC_NAME, domain=urlsplit(settings.CLINIC_SITE_URL).netloc
            ),
            "clinic_address": settings.CLINIC_ADDRESS,
            "clinic_contact": settings.CLINIC_CONTACT,
            "site_url": settings.CLINIC_SITE_URL,
        }
        send_soon(functools.partial(super().send_mail, template_prefix, email, context | about))


class MFAAdapter(DefaultMFAAdapter):  # type: ignore[misc]
    def _get_site_name(self) -> str:
        return str(settings.CLINIC_NAME)

    def get_public_key_credential_rp_entity(self) -> dict[str, str]:
        """Return the relying party that passkeys belong to: SITE_URL's host, whatever the request's Host header is."""
        return {"id": urlsplit(settings.CLINIC_SITE_URL).hostname or "", "name": self._get_site_name()}
