"""Admin pages of accounts: nobody gains rights by changing an account, and changes are told to the account's person.

notices.py sends the e-mails.
"""

import functools
from collections.abc import Iterable
from typing import Any, ClassVar

from allauth.mfa.admin import AuthenticatorAdmin
from allauth.mfa.models import Authenticator
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.forms import AdminUserCreationForm
from django.contrib.auth.models import Group
from django.db import transaction
from django.db.models import QuerySet
from django.forms import ModelMultipleChoiceField
from django.http import HttpRequest
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from people import phones

from . import invitations, notices
from .addresses import forget_old
from .models import User

CONTACT = ("phone", "birth_date", "preferred_language", "external_id")


class NewAccountForm(AdminUserCreationForm):  # type: ignore[type-arg]
    """Django's form for a new account, on which the person's choosing the password comes first."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        password = self.fields["usable_password"]
        password.label, password.initial = _("Password"), "false"
        password.choices = [("false", _("The person chooses it, by a link in an e-mail")), ("true", _("Set it here"))]  # type: ignore[attr-defined]
        password.help_text = _("Without an e-mail address, only a password that you set here lets the person sign in.")


@admin.register(User)
class PersonAdmin(UserAdmin):  # type: ignore[type-arg]
    """Let only superusers give a role or a permission, and change the account of a person who has one.

    A role is a group. Others can make accounts, and change those of patients and of staff without a role. If a manager
    could give roles, one person could request a refund and approve it by a second account. Django's UserAdmin lets
    everybody who may change users do all of this.
    """

    fieldsets: ClassVar[Any] = (*(UserAdmin.fieldsets or ()), (None, {"fields": CONTACT}))
    add_form = NewAccountForm
    add_fieldsets = (
        *UserAdmin.add_fieldsets,
        (None, {"fields": ("first_name", "last_name", "email", *CONTACT)}),
        (_("Only for those who work at the clinic"), {"fields": ("is_staff", "groups")}),
    )
    search_fields = ("username", "folded_name__contains", "email", "phone__number")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        fields = super().get_readonly_fields(request, obj)
        return fields if _is_superuser(request) else (*fields, "is_superuser", "groups", "user_permissions")

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> tuple[QuerySet[User], bool]:
        return super().get_search_results(request, queryset, phones.as_one_word(search_term))

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        above = obj is not None and not _is_superuser(request) and notices.Access.of(obj).given
        return not above and super().has_change_permission(request, obj)

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> User | None:
        """Return the account, with its present access in `access_before`, so that `log_change` can tell changes."""
        user: User | None = super().get_object(request, object_id, from_field)
        if user:
            user.access_before = notices.Access.of(user)  # type: ignore[attr-defined]
        return user

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        forget_old(obj)

    def formfield_for_manytomany(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """Return Django's field. A field for groups shows their names in the active language."""
        field = super().formfield_for_manytomany(db_field, request, **kwargs)
        if isinstance(field, ModelMultipleChoiceField) and db_field.related_model is Group:
            field.label_from_instance = lambda obj: gettext(obj.name)  # type: ignore[method-assign]
        return field

    def log_addition(self, request: HttpRequest, obj: User, message: Any) -> LogEntry:
        """Log a new account, and tell its person: with an invitation, unless a password was set."""
        of_staff, addresses = notices.Access.of(obj).of_staff, [obj.email]
        if obj.email and not obj.has_usable_password():
            addresses = []
            transaction.on_commit(functools.partial(invitations.send, request, obj))
        notices.tell(request, obj, [notices.CREATED], addresses, of_staff=of_staff)
        return super().log_addition(request, obj, message)

    def log_change(self, request: HttpRequest, obj: User, message: Any) -> LogEntry:
        """Log a change of an account, with its roles if they have changed, and tell it to those concerned."""
        before, now = obj.access_before, notices.Access.of(obj)  # type: ignore[attr-defined]
        addresses = [before.email, obj.email]
        of_staff = before.of_staff or now.of_staff
        notices.tell(request, obj, now.changes(before), addresses, of_staff=of_staff)
        if now.roles != before.roles:
            message = [*message, {"changed": {"fields": [str(now.role_change(before))]}}]
        return super().log_change(request, obj, message)


admin.site.unregister(Authenticator)


@admin.register(Authenticator)
class SecondFactorAdmin(AuthenticatorAdmin):  # type: ignore[misc]
    """Let superusers remove a person's second factor, which is told to the person, but neither add nor change one."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def log_deletions(self, request: HttpRequest, queryset: Iterable[Authenticator]) -> Any:
        for factor in queryset:
            of_staff = notices.Access.of(factor.user).of_staff
            notices.tell(request, factor.user, [notices.SECOND_FACTOR], [factor.user.email], of_staff=of_staff)
        return super().log_deletions(request, queryset)


def _is_superuser(request: HttpRequest) -> bool:
    return bool(getattr(request.user, "is_superuser", False))
