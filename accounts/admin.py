"""Admin pages of accounts, restricted so that staff can't gain rights by changing an account."""

from typing import Any, ClassVar

from django.contrib import admin
from django.contrib.auth.admin import UserAdmin
from django.db.models import QuerySet
from django.http import HttpRequest

from . import phones
from .addresses import forget_old
from .models import User

CONTACT = ("phone", "preferred_language")


@admin.register(User)
class PersonAdmin(UserAdmin):  # type: ignore[type-arg]
    """Let only superusers change a superuser's account, make somebody a superuser, or give a user single permissions.

    Other staff can only give permissions through groups. Django's UserAdmin lets everybody who may change users do all
    of this.
    """

    fieldsets: ClassVar[Any] = (*(UserAdmin.fieldsets or ()), (None, {"fields": CONTACT}))
    add_fieldsets = (*UserAdmin.add_fieldsets, (None, {"fields": ("first_name", "last_name", "email", *CONTACT)}))
    search_fields = ("username", "folded_name__contains", "email", "phone__number")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        fields = super().get_readonly_fields(request, obj)
        return fields if _is_superuser(request) else (*fields, "is_superuser", "user_permissions")

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> tuple[QuerySet[User], bool]:
        return super().get_search_results(request, queryset, phones.as_one_word(search_term))

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        above = obj is not None and obj.is_superuser and not _is_superuser(request)
        return not above and super().has_change_permission(request, obj)

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        forget_old(obj)


def _is_superuser(request: HttpRequest) -> bool:
    return bool(getattr(request.user, "is_superuser", False))
