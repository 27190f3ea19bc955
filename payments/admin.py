"""Read-only admin pages of payments, facts (states of Stripe objects), events, feeds (lists of changes) and so on.

These pages can't change a payment, because only the module `ledger` may do so.
"""

import datetime
from collections.abc import Callable
from typing import Any, TypeVar

from django.contrib import admin
from django.db.models import Model
from django.http import HttpRequest
from django.urls import reverse
from django.utils import formats, timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from appointments.money import format_amount

from .models import Closing, Email, EventReceipt, Fact, Feed, Note, Payment, RecordView, StatusChange

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


def sum_of(fact: Fact) -> str:
    """Return the fact's amount with its currency, or a dash if it is about no money."""
    return format_amount(fact.amount, fact.currency) if fact.amount and fact.currency else "–"


class RowsOfPayment(ReadOnly, admin.TabularInline):  # type: ignore[type-arg]
    extra = 0
    show_change_link = True


class FactInline(RowsOfPayment):
    model = Fact
    fields = readonly_fields = ("kind", "stripe_id", "status", "sum", "actor")

    @admin.display(description=_("amount"))
    def sum(self, fact: Fact) -> str:
        return sum_of(fact)


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


def sum_column(name: str) -> Callable[[Any, Payment], str]:
    """Return a display method of an admin class: the payment's amount `name`, such as "owed", with its currency."""
    column = f"amount_{name}"
    label = Payment._meta.get_field(column).verbose_name  # type: ignore[union-attr]

    @admin.display(description=label, ordering=column)
    def shown(self: Any, payment: Payment) -> str:
        return format_amount(getattr(payment, column), payment.currency)

    return shown


@admin.register(Payment)
class PaymentAdmin(ReadOnly, admin.ModelAdmin):  # type: ignore[type-arg]
    """Payments, with their amounts in major units; in the order of a bill, from the price to what is still owed."""

    list_display = ("appointment", "status", "due", "received", "owed", "updated_at")
    list_filter = ("status", "currency")
    list_select_related = ("appointment",)
    search_fields = ("public_id", "appointment__reference", "facts__stripe_id")
    fields = readonly_fields = (
        *("appointment_link", "public_id", "status", "review_labels", "method"),
        *("price", "due", "received", "refunded", "refund_pending", "lost", "waived", "on_its_way", "owed", "overpaid"),
        *("payable", "attempt", "failure_code", "answer_until", "version", "created_at", "updated_at"),
    )
    inlines = (StatusChangeInline, FactInline, EventReceiptInline)
    due = sum_column("due")
    received = sum_column("received")
    refunded = sum_column("refunded")
    refund_pending = sum_column("refund_pending")
    lost = sum_column("lost")
    waived = sum_column("waived")
    on_its_way = sum_column("on_its_way")
    owed = sum_column("owed")
    overpaid = sum_column("overpaid")

    @admin.display(description=_("appointment"))
    def appointment_link(self, payment: Payment) -> SafeString | str:
        return link_to(payment.appointment)

    @admin.display(description=_("price"))
    def price(self, payment: Payment) -> str:
        return format_amount(payment.price, payment.currency)

    @admin.display(description=_("to review"))
    def review_labels(self, payment: Payment) -> str:
        return ", ".join(payment.review_labels)

    @admin.display(description=_("answer the bank until"))
    def answer_until(self, payment: Payment) -> str:
        if payment.dispute_due_by is None:
            return ""
        until = datetime.datetime.fromtimestamp(payment.dispute_due_by, timezone.get_current_timezone())
        return formats.localize(until)


class LinkedToPayment(ReadOnly, admin.ModelAdmin):  # type: ignore[type-arg]
    exclude = ("payment",)
    readonly_fields = ("payment_link",)
    list_select_related = ("payment",)

    @admin.display(description=_("payment"))
    def payment_link(self, row: Any) -> SafeString | str:
        return link_to(row.payment)


@admin.register(Fact)
class FactAdmin(LinkedToPayment):
    list_display = ("stripe_id", "kind", "status", "sum", "payment_link")
    list_filter = ("kind", "status")
    search_fields = ("stripe_id", "payment_intent_id", "charge_id")

    @admin.display(description=_("amount"), ordering="amount")
    def sum(self, fact: Fact) -> str:
        return sum_of(fact)


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
class EmailAdmin(LinkedToPayment):
    list_display = ("created_at", "kind", "payment_link", "sent_at", "tries", "error", "given_up_at")
    list_filter = ("kind",)
    exclude = ("payment", "change", "pay_link")  # type: ignore[assignment]


@admin.register(Closing)
class ClosingAdmin(ReadOnly, admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = ("number", "day", "sealed_at", "sealed_by", "corrects")
    list_select_related = ("sealed_by", "corrects")
    date_hierarchy = "day"


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
