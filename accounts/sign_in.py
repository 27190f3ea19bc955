"""Tells pages how people sign in on this site: by django-allauth, and staff with a second factor."""

from collections.abc import Mapping
from typing import Any

from allauth.account.adapter import get_adapter
from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.contrib.sessions.backends.base import SessionBase
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest

from people.models import PatientFields
from people.sign_in import SignIn

from . import addresses, invitations, proof


class AllauthSignIn(SignIn):
    steps = ("account_reauthenticate", "mfa_reauthenticate", "mfa_reauthenticate_webauthn", "admin:login")
    views = ("account_", "mfa_")
    security_page = "mfa_index"

    @property
    def longest_session(self) -> int:
        return int(settings.SESSION_LONGEST)

    def lacks_second_factor(
        self, user: AbstractBaseUser | AnonymousUser, session: SessionBase | Mapping[str, Any]
    ) -> bool:
        return proof.lacks_second_factor(user, session)

    def proof_page(self, request: HttpRequest) -> str:
        """Return the path of allauth's page that asks for a proof, or "" if the person has given one recently.

        allauth's own decorator would repeat the POST afterwards without asking, and show its answer at the URL of that
        page.
        """
        if proof.proved_recently(request):
            return ""
        ways = get_adapter().get_reauthentication_methods(request.user)
        if not ways:
            raise PermissionDenied
        return str(ways[0]["url"])

    def may_invite(self, person: PatientFields) -> bool:
        return invitations.may_invite(person)

    def invite(self, request: HttpRequest, person: PatientFields) -> None:
        invitations.invite(request, person)

    def address_changed(self, person: PatientFields) -> None:
        addresses.forget_old(person)

    def forget(self, person: PatientFields) -> None:
        """Delete allauth's copies of the person's e-mail addresses, and their second factors."""
        EmailAddress.objects.filter(user=person.pk).delete()
        Authenticator.objects.filter(user=person.pk).delete()
