"""Sends e-mails about changes that somebody makes in the admin to another person's account.

The account's person gets one and, if the account is of staff, so do all who manage accounts. django-allauth sends the
e-mails about changes that people make to their own accounts.
"""

import functools
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Self

from allauth.account.adapter import get_adapter
from allauth.core.context import request_context
from django.conf import settings
from django.db import transaction
from django.http import HttpRequest
from django.utils.functional import Promise, lazy
from django.utils.text import format_lazy
from django.utils.translation import gettext, override
from django.utils.translation import gettext_lazy as _

from .models import User

Change = str | Promise  # the words for one change

WORDS: dict[str, Promise] = {
    "password": _("the password"),
    "email": _("the e-mail address"),
    "is_active": _("whether the person can sign in"),
    "is_staff": _("whether the person belongs to the staff"),
    "is_superuser": _("whether the person is a superuser"),
    "roles": _("the roles"),
    "permissions": _("the single permissions"),
}
CREATED, SECOND_FACTOR = _("the account was created"), _("a second step to sign in was removed")


def _in_words(before: frozenset[str], now: frozenset[str]) -> str:
    """Return the roles before and after a change, in the active language: "accueil → comptable"."""
    return " → ".join(", ".join(sorted(map(gettext, roles))) or "-" for roles in (before, now))


_role_change = lazy(_in_words, str)


@dataclass(frozen=True, slots=True)
class Access:
    """How a person signs in and what the person may do: the parts of an account whose changes are told."""

    password: str
    email: str
    is_active: bool
    is_staff: bool
    is_superuser: bool
    roles: frozenset[str]
    permissions: frozenset[int]

    @classmethod
    def of(cls, user: User) -> Self:
        """Return the access that is stored for the user."""
        roles = frozenset(user.groups.values_list("name", flat=True))
        permissions = frozenset(user.user_permissions.values_list("pk", flat=True))
        plain = (user.password, user.email, user.is_active, user.is_staff, user.is_superuser)
        return cls(*plain, roles, permissions)

    @property
    def given(self) -> bool:
        """Return whether the person has a role or a permission, which only superusers give."""
        return self.is_superuser or bool(self.roles) or bool(self.permissions)

    @property
    def of_staff(self) -> bool:
        """Return whether the person sees more than a patient does."""
        return self.is_staff or self.given

    def changes(self, before: "Access") -> list[Change]:
        """Return the words for each part that differs from `before`; for roles, with the old and the new ones."""
        changed = [field.name for field in fields(self) if getattr(self, field.name) != getattr(before, field.name)]
        return [self._words(name, before) for name in changed]

    def _words(self, name: str, before: "Access") -> Change:
        return format_lazy("{} ({})", WORDS[name], self.role_change(before)) if name == "roles" else WORDS[name]

    def role_change(self, before: "Access") -> Change:
        """Return the roles before and after the change, such as "front desk → accountant, front desk"."""
        return _role_change(before.roles, self.roles)


def tell(request: HttpRequest, user: User, changes: list[Change], addresses: Iterable[str], *, of_staff: bool) -> None:
    """E-mail that the person who sent `request` has made these changes to the account of `user`, after the commit.

    The e-mail goes to `addresses`, the person's own. If the account is of staff, it also goes to all others who manage
    accounts.
    """
    actor = request.user
    letters = {address: user for address in addresses if address}
    if of_staff:
        managers = User.objects.with_perm("clinic_accounts.change_user").exclude(email="")
        letters = {each.email: each for each in managers if each.pk not in (actor.pk, user.pk)} | letters
    if changes and letters:
        own = {address for address, reader in letters.items() if reader == user}
        context = {"actor": actor.get_username(), "name": user.get_username(), "clinic": settings.CLINIC_NAME}
        transaction.on_commit(functools.partial(_send, request, letters, own, context, changes))


def _send(
    request: HttpRequest, letters: dict[str, User], own: set[str], context: dict[str, str], changes: list[Change]
) -> None:
    for address, reader in letters.items():
        with request_context(request), override(reader.preferred_language or settings.LANGUAGE_CODE):
            words = [str(change) for change in changes]
            get_adapter().send_mail(
                "account/email/changed", address, context | {"changes": words, "own": address in own}
            )
