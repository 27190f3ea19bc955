"""Admin pages of API keys and of their uses. Only superusers make keys, because a key may take money."""

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.translation import gettext_lazy as _

from payments.admin import ReadOnly

from ..models import ApiKey, ApiUse

RIGHTS = ("may_read", "may_book", "may_take_money")


@admin.register(ApiKey)
class ApiKeyAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """Makes keys, changes their rights and revokes them. A key's text is shown once, after it was made."""

    list_display = ("name", "prefix", "acts_as", *RIGHTS, "expires_at", "revoked_at", "last_used_at")
    list_select_related = ("acts_as",)
    fields = ("name", "acts_as", *RIGHTS, "expires_at", "prefix", "made_at", "last_used_at", "revoked_at")
    readonly_fields = ("prefix", "made_at", "last_used_at", "revoked_at")
    actions = ("revoke",)

    def get_fields(self, request: HttpRequest, obj: ApiKey | None = None) -> Any:
        return self.fields if obj else ("name", "acts_as", *RIGHTS, "expires_at")

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: ApiKey, form: Any, change: bool) -> None:
        if not change:
            request.api_key_text = obj.new_text()  # type: ignore[attr-defined]
        super().save_model(request, obj, form, change)

    def response_add(self, request: HttpRequest, obj: ApiKey, post_url_continue: str | None = None) -> HttpResponse:
        """Show the new key's text, instead of redirecting: a message for the next page would be stored."""
        context = {
            **self.admin_site.each_context(request),
            "title": _("New API key"),
            "opts": self.opts,
            "key": obj,
            "text": request.api_key_text,  # type: ignore[attr-defined]
        }
        return TemplateResponse(request, "admin/clinic_integrations/apikey/made.html", context)

    @admin.action(description=_("Revoke the selected keys"), permissions=["change"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> None:
        for key in queryset.filter(revoked_at=None):
            key.revoke()
            self.log_change(request, key, "revoked")
        self.message_user(request, _("The keys were revoked. They open nothing any more."), messages.SUCCESS)


@admin.register(ApiUse)
class ApiUseAdmin(ReadOnly, admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = ("at", "key", "method", "route", "status", "request_id")
    list_filter = ("key", "method")
    list_select_related = ("key",)
    search_fields = ("request_id",)
    date_hierarchy = "at"
    show_full_result_count = False
