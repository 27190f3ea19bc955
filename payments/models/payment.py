"""A payment: what is due for one appointment, and what has been paid."""

import time
import uuid
from collections.abc import Callable
from typing import Self

from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.db import connection, models
from django.utils.translation import gettext_lazy as _

from appointments.models import Appointment

from ..db import statements
from ..domain.facts import Kind, StripeFact
from ..domain.status import PaymentStatus, Review, Standing, Terms
from .search import SearchQuerySet

IN_PROGRESS = (
    PaymentStatus.CHECKOUT_OPEN,
    PaymentStatus.PROCESSING,
    PaymentStatus.REFUND_PENDING,
)
PAYABLE = (
    PaymentStatus.UNPAID,
    PaymentStatus.CHECKOUT_OPEN,
    PaymentStatus.FAILED,
    PaymentStatus.EXPIRED,
)


# Written in SQL because every webhook runs this query, and the ORM would compile it each time.
NAMED = """
SELECT {columns} FROM {payment}
JOIN {appointment} ON {appointment}.id = {payment}.appointment_id
WHERE {payment}.public_id = %s
"""


class PaymentQuerySet(SearchQuerySet["Payment"]):
    def visible_to(self, user: AbstractBaseUser | AnonymousUser) -> Self:
        """Return the payments that the user may see.

        Staff may see all payments, patients their own, and inactive or anonymous users none.
        """
        if not user.is_active:
            return self.none()
        return self if getattr(user, "is_staff", False) else self.filter(appointment__patient=user.pk)

    def in_progress(self) -> Self:
        """Return payments that may change at Stripe: an open Checkout, a debit on its way, or a pending refund."""
        return self.filter(status__in=IN_PROGRESS)

    def to_review(self) -> Self:
        return self.exclude(reviews=[])

    def locked(self) -> Self:
        """Return the payments, locked until the transaction ends, with their appointments, which are not locked."""
        return self.select_for_update(of=("self",)).select_related("appointment")

    def lock_named(self, public_id: uuid.UUID) -> "Callable[[], Payment | None]":
        """Lock the payment with this public id. Return a function that returns the payment, or None if there is none.

        The query may be batched with other statements until the function is called.
        """
        lock = "FOR UPDATE OF {payment}" if connection.features.has_select_for_update else ""
        tables = {"payment": Payment._meta.db_table, "appointment": Appointment._meta.db_table}
        load = statements.ask((NAMED + lock).format(columns="{columns}", **tables), [public_id], Payment, Appointment)

        def locked() -> Payment | None:
            found: list[tuple[Payment, Appointment]] = load()
            if not found:
                return None
            payment, appointment = found[0]
            payment.appointment = appointment
            return payment

        return locked

    def with_appointment(self) -> Self:
        return self.select_related("appointment", "appointment__patient", "appointment__practitioner")


class Payment(models.Model):
    """One appointment's payment. Amounts are minor units of `currency`; only ledger.py writes status and sums."""

    public_id = models.UUIDField(unique=True, default=uuid.uuid4, editable=False)
    appointment = models.OneToOneField(
        Appointment, models.PROTECT, related_name="payment", verbose_name=_("appointment")
    )
    amount_due = models.PositiveBigIntegerField(_("due"))
    currency = models.CharField(_("currency"), max_length=3)
    earlier_amounts = models.JSONField(default=list, blank=True)
    booking = models.JSONField(default=dict, blank=True)  # the appointment's data as of the newest change
    checkout_attempts = models.PositiveIntegerField(default=0)

    status = models.CharField(_("status"), max_length=20, choices=PaymentStatus, default=PaymentStatus.UNPAID)
    amount_received = models.PositiveBigIntegerField(_("received"), default=0)
    amount_refunded = models.PositiveBigIntegerField(_("refunded"), default=0)
    amount_refund_pending = models.PositiveBigIntegerField(_("refund pending"), default=0)
    amount_lost = models.PositiveBigIntegerField(_("lost to disputes"), default=0)
    amount_overpaid = models.PositiveBigIntegerField(_("overpaid"), default=0)
    attempt = models.CharField(max_length=20, blank=True)
    failure_code = models.CharField(_("failure code"), max_length=80, blank=True)
    method = models.CharField(_("payment method"), max_length=40, blank=True)
    dispute_due_by = models.PositiveBigIntegerField(null=True, blank=True)
    reviews = models.JSONField(_("to review"), default=list, blank=True)

    version = models.PositiveIntegerField(default=0)
    created_at = models.DateTimeField(_("created"), auto_now_add=True)
    updated_at = models.DateTimeField(_("updated"), auto_now=True)

    objects = PaymentQuerySet.as_manager()

    class Meta:
        ordering = ("-created_at",)
        verbose_name = _("payment")
        verbose_name_plural = _("payments")
        indexes = (models.Index(fields=("status", "updated_at"), name="payment_status_updated"),)
        permissions = (
            ("refund_payment", "Can refund up to the front desk's limit"),
            ("refund_any_amount", "Can refund any amount"),
            ("export_payments", "Can download payments"),
            ("view_operations", "Can see the operations board"),
        )

    def __str__(self) -> str:
        return str(self.public_id)

    @property
    def payable(self) -> bool:
        """Return whether the patient may be sent to Stripe Checkout to pay."""
        return self.status in PAYABLE

    @property
    def owed(self) -> int:
        """Return what the patient still has to pay, in minor units; 0 unless the status is payable or underpaid."""
        if not self.payable and self.status != PaymentStatus.UNDERPAID:
            return 0
        return max(0, self.amount_due - self.amount_received)

    @property
    def refundable(self) -> int:
        """Return what may still be refunded, in minor units; 0 while disputed or after a chargeback."""
        if self.status in (PaymentStatus.DISPUTED, PaymentStatus.CHARGED_BACK):
            return 0
        return max(0, self.amount_received - self.amount_refunded - self.amount_refund_pending - self.amount_lost)

    @property
    def review_labels(self) -> list[str]:
        return [str(Review(reason).label) for reason in self.reviews]

    def own_fact(self, kind: Kind, own_id: str, status: str, amount: int = 0, **details: object) -> StripeFact:
        """Return an unsaved fact about the payment that only this site knows, such as that it was paid at the desk.

        The fact has the current time. `own_id` is stored in place of a Stripe id, and `details` with the fact. `amount`
        is in minor units.
        """
        now = int(time.time())
        return StripeFact(
            kind=kind,
            stripe_id=own_id,
            status=status,
            as_of=now,
            created=now,
            amount=amount,
            currency=self.currency,
            payment_id=str(self.public_id),
            details=details,
        )

    @property
    def terms(self) -> Terms:
        return Terms(
            amount=self.amount_due,
            currency=self.currency,
            canceled=self.appointment.canceled,
            slot_lost=self.appointment.canceled and self.appointment.slot_resold(),
            earlier_amounts=frozenset(self.earlier_amounts),
        )

    @property
    def standing(self) -> Standing:
        return Standing(
            status=PaymentStatus(self.status),
            received=self.amount_received,
            refunded=self.amount_refunded,
            refund_pending=self.amount_refund_pending,
            lost=self.amount_lost,
            overpaid=self.amount_overpaid,
            attempt=self.attempt,
            failure_code=self.failure_code,
            method=self.method,
            dispute_due_by=self.dispute_due_by,
            reviews=tuple(Review(reason) for reason in self.reviews),
        )
