"""Admin pages of webhook endpoints, and of the messages sent to them with each try and its answer.

Only superusers see them, unless somebody gives the permissions to a group: an endpoint learns of all payments.
"""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.text import format_lazy
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_POST

from payments.admin import ReadOnly, link_to

from ..models import WebhookAttempt, WebhookEndpoint, WebhookMessage
from ..outgoing import outbox
from ..outgoing.event_types import CHOICES


class EndpointForm(forms.ModelForm):  # type: ignore[type-arg]
    event_types = forms.MultipleChoiceField(
        label=_("Event types"),
        choices=[(name, format_lazy("{}: {}", name, label)) for name, label in CHOICES.items()],
        widget=forms.CheckboxSelectMultiple,
        required=False,
        help_text=_("None chosen: all."),
    )

    class Meta:
        model = WebhookEndpoint
        fields = ("url", "description", "event_types", "is_active")


class TellAgainForm(forms.Form):
    """From which number of the staff's feed (list of changes) an endpoint is told again."""

    number = forms.IntegerField(label=_("From number"), min_value=1, max_value=2**53)


@admin.register(WebhookEndpoint)
class WebhookEndpointAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """Makes and changes endpoints. A secret is shown once, after it was made."""

    form = EndpointForm
    change_form_template = "admin/clinic_integrations/webhookendpoint/change_form.html"
    list_display = ("url", "description", "is_active", "failures", "failing_since", "disabled_because")
    list_filter = ("is_active",)
    readonly_fields = ("seq", "old_secret_until", "failures", "failing_since", "paused_until", "disabled_at",
                       "disabled_because", "created_at")  # fmt: skip

    def get_fields(self, request: HttpRequest, obj: WebhookEndpoint | None = None) -> Any:
        typed = EndpointForm.Meta.fields
        return (*typed, *self.readonly_fields) if obj else typed

    def save_model(self, request: HttpRequest, obj: WebhookEndpoint, form: Any, change: bool) -> None:
        if obj.is_active and "is_active" in form.changed_data:
            obj.enable()
        super().save_model(request, obj, form, change)

    def response_add(
        self, request: HttpRequest, obj: WebhookEndpoint, post_url_continue: str | None = None
    ) -> HttpResponse:
        """Show the new endpoint's secret, instead of redirecting: a message for the next page would be stored."""
        return self.secret_page(request, obj, obj.readable_secret())

    def secret_page(self, request: HttpRequest, endpoint: WebhookEndpoint, secret: str) -> HttpResponse:
        context = {
            **self.admin_site.each_context(request),
            "title": _("Secret of the webhook endpoint"),
            "opts": self.opts,
            "endpoint": endpoint,
            "secret": secret,
        }
        return TemplateResponse(request, "admin/clinic_integrations/webhookendpoint/secret.html", context)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        extra = {"tell_again_form": TellAgainForm(), **(extra_context or {})}
        return super().change_view(request, object_id, form_url, extra)

    def get_urls(self) -> list[URLPattern]:
        pages = (("rotate", self.rotate), ("test", self.send_test), ("again", self.tell_again))
        ours = [
            path(
                f"<path:object_id>/{name}/",
                self.admin_site.admin_view(require_POST(view)),
                name=f"clinic_integrations_webhookendpoint_{name}",
            )
            for name, view in pages
        ]
        return [*ours, *super().get_urls()]

    def endpoint_or_404(self, request: HttpRequest, object_id: str) -> WebhookEndpoint:
        """Return the endpoint if the user may change it. Raises Http404 and PermissionDenied."""
        endpoint: WebhookEndpoint | None = self.get_object(request, unquote(object_id))
        if endpoint is None:
            raise Http404
        if not self.has_change_permission(request, endpoint):
            raise PermissionDenied
        return endpoint

    def rotate(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Replace the endpoint's secret and show the new one. The old one also signs for a day."""
        endpoint = self.endpoint_or_404(request, object_id)
        secret = endpoint.rotate_secret()
        self.log_change(request, endpoint, "rotated the secret")
        return self.secret_page(request, endpoint, secret)

    def send_test(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Queue a test message, and lead to its page, which shows the answer."""
        endpoint = self.endpoint_or_404(request, object_id)
        message = outbox.send_test(endpoint)
        said = _("The test event is sent in a moment. Load this page again to see the answer.")
        if not endpoint.is_active:
            said = _("The test event is sent once the endpoint is active.")
        self.message_user(request, said)
        return HttpResponseRedirect(reverse("admin:clinic_integrations_webhookmessage_change", args=[message.pk]))

    def tell_again(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Have the endpoint told again of all changes from the number that was typed."""
        endpoint = self.endpoint_or_404(request, object_id)
        form = TellAgainForm(request.POST)
        if not form.is_valid():
            self.message_user(request, _("Enter a number above zero."), messages.ERROR)
        else:
            number = form.cleaned_data["number"]
            try:
                outbox.tell_again(endpoint, number)
            except outbox.TooOldError as error:
                said = _("This number is deleted; the first one kept is %(first)s.") % {"first": error.first}
                self.message_user(request, said, messages.ERROR)
            else:
                self.log_change(request, endpoint, f"told again from {number}")
                self.message_user(request, _("The messages are sent again in a moment."), messages.SUCCESS)
        return HttpResponseRedirect(reverse("admin:clinic_integrations_webhookendpoint_change", args=[endpoint.pk]))


class AttemptInline(ReadOnly, admin.TabularInline):  # type: ignore[type-arg]
    model = WebhookAttempt
    extra = 0
    fields = readonly_fields = ("at", "status", "failure", "milliseconds", "answer")


@admin.register(WebhookMessage)
class WebhookMessageAdmin(ReadOnly, admin.ModelAdmin):  # type: ignore[type-arg]
    """Shows messages with each try, its answer and how long it took."""

    list_display = ("webhook_id", "type", "endpoint", "created_at", "tries", "delivered_at", "given_up_at")
    list_filter = ("endpoint", "type", ("delivered_at", admin.EmptyFieldListFilter))
    list_select_related = ("endpoint",)
    search_fields = ("webhook_id", "payment__public_id", "payment__appointment__reference")
    fields = readonly_fields = ("webhook_id", "type", "endpoint", "of_payment", "created_at", "tries", "try_at",
                                "delivered_at", "given_up_at", "body")  # fmt: skip
    inlines = (AttemptInline,)
    actions = ("send_again",)

    @admin.display(description=_("payment"))
    def of_payment(self, message: WebhookMessage) -> str:
        return link_to(message.payment)

    def has_send_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("clinic_integrations.change_webhookendpoint")

    @admin.action(description=_("Send the selected messages again"), permissions=["send"])
    def send_again(self, request: HttpRequest, queryset: QuerySet[WebhookMessage]) -> None:
        queryset.send_again()  # type: ignore[attr-defined]
        self.message_user(request, _("The messages are sent again in a moment."), messages.SUCCESS)
