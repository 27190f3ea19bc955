"""What this site asks of django-allauth otherwise than it would do: https://docs.allauth.org."""

import contextvars
import threading
from typing import Any
from urllib.parse import urlsplit

from allauth.account.adapter import DefaultAccountAdapter
from allauth.core import context
from allauth.core.internal import ratelimit
from allauth.mfa.adapter import DefaultMFAAdapter
from django.conf import settings
from django.core.cache import cache
from django.http import HttpRequest
from django.urls import reverse
from django.utils.translation import override

from .models import User
from .proof import proved_recently

TOLD_AGAIN_AFTER = 60 * 60  # seconds


class AccountAdapter(DefaultAccountAdapter):  # type: ignore[misc]
    def is_open_for_signup(self, request: HttpRequest) -> bool:
        """The clinic makes accounts; nobody makes their own."""
        return False

    def _get_login_attempts_cache_key(self, request: HttpRequest, **credentials: Any) -> str:
        """A name is locked for the address that guessed, not for its owner elsewhere."""
        name = super()._get_login_attempts_cache_key(request, **credentials)
        return f"{name}:{self.get_client_ip(request)}"

    def authentication_failed(self, request: HttpRequest, **credentials: Any) -> None:
        """A wrong password; after the last one that is allowed, the person is told, at most once an hour."""
        key = self._get_login_attempts_cache_key(request, **credentials)
        about = {"app": "allauth.account", "action": "login_failed", "config": {"login_failed": settings.GUESSES}}
        if ratelimit.consume(request, key=key, dry_run=True, **about):
            return
        user = User.objects.filter(username=credentials.get("username"), is_active=True).exclude(email="").first()
        if user and cache.add(f"accounts.locked.{user.pk}", 1, TOLD_AGAIN_AFTER):
            link = settings.SITE_URL + reverse("account_reset_password")
            context = {"address": self.get_client_ip(request), "clinic": settings.CLINIC_NAME, "link": link}
            with override(settings.LANGUAGE_CODE):  # the request's language is the guesser's
                self.send_mail("account/email/locked", user.email, context)

    def is_reauthentication_required(self, *, app: str, **kwargs: Any) -> bool:
        """allauth doesn't count the sign-in itself; a minute after it nobody need repeat the password."""
        return not proved_recently(context.request)

    def send_mail(self, template_prefix: str, email: str, context: dict[str, Any]) -> None:
        """In a thread: the answer then takes as long for an address that we know as for one that we don't."""
        send = contextvars.copy_context().run
        threading.Thread(target=send, args=(super().send_mail, template_prefix, email, context)).start()


class MFAAdapter(DefaultMFAAdapter):  # type: ignore[misc]
    def _get_site_name(self) -> str:
        return str(settings.CLINIC_NAME)

    def get_public_key_credential_rp_entity(self) -> dict[str, str]:
        """A passkey belongs to SITE_URL's host, whatever the Host header says."""
        return {"id": urlsplit(settings.SITE_URL).hostname or "", "name": self._get_site_name()}
