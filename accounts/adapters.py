"""What this site asks of django-allauth otherwise than it would do: https://docs.allauth.org."""

import contextvars
import threading
from typing import Any
from urllib.parse import urlsplit

from allauth.account.adapter import DefaultAccountAdapter
from allauth.core import context
from allauth.mfa.adapter import DefaultMFAAdapter
from django.conf import settings
from django.http import HttpRequest

from .proof import proved_recently


class AccountAdapter(DefaultAccountAdapter):  # type: ignore[misc]
    def is_open_for_signup(self, request: HttpRequest) -> bool:
        """The clinic makes accounts; nobody makes their own."""
        return False

    def _get_login_attempts_cache_key(self, request: HttpRequest, **credentials: Any) -> str:
        """A name is locked for the address that guessed, not for its owner elsewhere."""
        name = super()._get_login_attempts_cache_key(request, **credentials)
        return f"{name}:{self.get_client_ip(request)}"

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
