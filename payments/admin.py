"""Read-only admin pages of payments, facts (states of Stripe objects), events, feeds (lists of changes) and so on.

These pages can't change a payment, because only the module `ledger` may do so.
"""

from typing import Any, TypeVar

from django.contrib import admin
from django.db.models import Model
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from appointments.money import format_amount

from .models import Email, EventReceipt, Fact, Feed, Note, Payment, RecordView, StatusChange

Row = TypeVar("Row", bound=Model)


class ReadOnly:
    """A mixin for admin classes that lets nobody, not even superusers, add, change or delete a row."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


def link_to(row: Model | None) -> SafeString | str:
    """Return a link to the row's admin page, or a dash if `row` is None."""
    if row is None:
        return "–"
    name = f"admin:{row._meta.app_label}_{row._meta.model_name}_change"
    return format_html('<a href="{}">{}</a>', reverse(name, args=[row.pk]), row)


class RowsOfPayment(ReadOnly, admin.TabularInline):  # type: ignore[type-arg]
    extra = 0
    show_change_link = True


class FactInline(RowsOfPayment):
    model = Fact
    fields = readonly_fields = ("kind", "stripe_id", "status", "amount", "currency", "actor")


class StatusChangeInline(RowsOfPayment):
    model = StatusChange
    fields = readonly_fields = (
        "version",
        "from_status",
        "to_status",
        "source",
        "stripe_event_id",
        "actor",
        "created_at",
    )


class EventReceiptInline(RowsOfPayment):
    model = EventReceipt
    fields = readonly_fields = ("stripe_event_id", "type", "outcome", "deliveries", "received_at")


@admin.register(Payment)
class PaymentAdmin(ReadOnly, admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = ("appointment", "status", "due", "received", "updated_at")
    list_filter = ("status", "currency")
    list_select_related = ("appointment",)
    search_fields = ("public_id", "appointment__reference", "facts__stripe_id")
    exclude = ("appointment", "amount_due", "amount_received")
    readonly_fields = ("appointment_link", "due", "received")
    inlines = (StatusChangeInline, FactInline, EventReceiptInline)

    @admin.display(description=_("appointment"))
    def appointment_link(self, payment: Payment) -> SafeString | str:
        return link_to(payment.appointment)

    @admin.display(description=_("due"), ordering="amount_due")
    def due(self, payment: Payment) -> str:
        return format_amount(payment.amount_due, payment.currency)

    @admin.display(description=_("received"), ordering="amount_received")
    def received(self, payment: Payment) -> str:
        return format_amount(payment.amount_received, payment.currency)


class LinkedToPayment(ReadOnly, admin.ModelAdmin):  # type: ignore[type-arg]
    exclude = ("payment",)
    readonly_fields = ("payment_link",)
    list_select_related = ("payment",)

    @admin.display(description=_("payment"))
    def payment_link(self, row: Any) -> SafeString | str:
        return link_to(row.payment)


@admin.register(Fact)
class FactAdmin(LinkedToPayment):
    list_display = ("stripe_id", "kind", "status", "amount", "currency", "payment_link")
    list_filter = ("kind", "status")
    search_fields = ("stripe_id", "payment_intent_id", "charge_id")


@admin.register(StatusChange)
class StatusChangeAdmin(LinkedToPayment):
    list_display = ("created_at", "payment_link", "from_status", "to_status", "source", "actor")
    list_filter = ("source", "to_status")
    list_select_related = ("payment", "actor")  # type: ignore[assignment]
    search_fields = ("stripe_event_id", "payment__public_id")


@admin.register(EventReceipt)
class EventReceiptAdmin(LinkedToPayment):
    list_display = ("stripe_event_id", "type", "outcome", "deliveries", "received_at", "payment_link")
    list_filter = ("outcome", "type")
    search_fields = ("stripe_event_id", "object_id")


@admin.register(Feed)
class FeedAdmin(ReadOnly, admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = ("audience", "head", "pruned")


@admin.register(Email)
class EmailAdmin(ReadOnly, admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = ("created_at", "kind", "payment", "sent_at", "tries", "error", "given_up_at")
    list_filter = ("kind",)
    list_select_related = ("change__payment",)
    exclude = ("change",)
    readonly_fields = ("payment",)

    @admin.display(description=_("payment"))
    def payment(self, email: Email) -> SafeString | str:
        return link_to(email.change.payment)


@admin.register(Note)
class NoteAdmin(LinkedToPayment):
    list_display = ("created_at", "author", "payment_link")
    list_select_related = ("payment", "author")  # type: ignore[assignment]


@admin.register(RecordView)
class RecordViewAdmin(LinkedToPayment):
    list_display = ("at", "user", "payment_link")
    list_select_related = ("payment", "user")  # type: ignore[assignment]
    search_fields = ("payment__appointment__reference", "user__username")
    date_hierarchy = "at"
