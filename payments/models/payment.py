"""A payment: what is due for one appointment, and what has been paid."""

import time
import uuid
from typing import Any, Self

from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.db import models
from django.utils.translation import gettext_lazy as _

from appointments.models import Appointment
from appointments.money import is_chargeable

from ..domain.attempts import AttemptState
from ..domain.cards import CardState
from ..domain.facts import Kind, StripeFact
from ..domain.status import Amounts, PaymentStatus, Review, Standing, Terms
from .search import SearchQuerySet

IN_PROGRESS = (
    PaymentStatus.CHECKOUT_OPEN,
    PaymentStatus.PROCESSING,
    PaymentStatus.REFUND_PENDING,
)
# The sums that a payment stores, each as `amount_<name>`. RESULTS follow from SUMS; they are stored for queries.
SUMS = ("due", "received", "refunded", "refund_pending", "lost", "waived", "on_its_way")
RESULTS = ("owed", "overpaid")


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
        return self.select_for_update(of=("self",), no_key=True).select_related("appointment")

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
    earlier_prices = models.JSONField(default=list, blank=True)
    booking = models.JSONField(default=dict, blank=True)  # the appointment's data as of the newest change
    checkouts = models.JSONField(default=list, blank=True)  # the payment pages opened within the last hour
    slot_lost = models.BooleanField(default=False)  # the appointment was canceled, and another one has its time

    status = models.CharField(_("status"), max_length=20, choices=PaymentStatus, default=PaymentStatus.UNPAID)
    amount_received = models.PositiveBigIntegerField(_("received"), default=0)
    amount_refunded = models.PositiveBigIntegerField(_("refunded"), default=0)
    amount_refund_pending = models.PositiveBigIntegerField(_("refund pending"), default=0)
    amount_lost = models.PositiveBigIntegerField(_("lost to disputes"), default=0)
    amount_waived = models.PositiveBigIntegerField(_("waived"), default=0)
    amount_on_its_way = models.PositiveBigIntegerField(_("on its way"), default=0)
    amount_owed = models.PositiveBigIntegerField(_("still owed"), default=0)
    amount_overpaid = models.PositiveBigIntegerField(_("overpaid"), default=0)
    payable = models.BooleanField(_("payable online"), default=True)
    attempt = models.CharField(max_length=20, blank=True)
    failure_code = models.CharField(_("failure code"), max_length=80, blank=True)
    method = models.CharField(_("payment method"), max_length=40, blank=True)
    dispute_due_by = models.PositiveBigIntegerField(null=True, blank=True)
    reviews = models.JSONField(_("to review"), default=list, blank=True)

    card = models.CharField(_("card"), max_length=8, choices=CardState, blank=True)
    card_brand = models.CharField(_("card brand"), max_length=20, blank=True)
    card_last4 = models.CharField(_("last digits of the card"), max_length=4, blank=True)
    card_limit = models.PositiveBigIntegerField(_("may be charged to the card"), default=0)

    version = models.PositiveIntegerField(default=0)
    created_at = models.DateTimeField(_("created"), auto_now_add=True)
    updated_at = models.DateTimeField(_("updated"), auto_now=True)

    objects = PaymentQuerySet.as_manager()

    class Meta:
        ordering = ("-created_at",)
        verbose_name = _("payment")
        verbose_name_plural = _("payments")
        indexes = (
            models.Index(fields=("status", "updated_at"), name="payment_status_updated"),
            # Every page of staff counts these payments, and they are few among all.
            models.Index(fields=("updated_at",), condition=~models.Q(reviews=[]), name="payment_to_review"),
        )
        permissions = (
            ("refund_payment", "Can refund up to the front desk's limit"),
            ("refund_any_amount", "Can refund any amount"),
            ("export_payments", "Can download payments"),
            ("view_operations", "Can see the operations board"),
        )

    def __str__(self) -> str:
        return str(self.public_id)

    def attach(self, appointment: Appointment) -> None:
        """Set the payment's appointment without a reference back from the appointment, which Django sets too.

        Objects that refer to each other stay in memory until a garbage collection. A process that handles many webhooks
        would hold thousands of them, because its full collections are rare (payments_site/asgi.py).
        """
        self.appointment = appointment
        back: Any = self._meta.get_field("appointment").remote_field
        back.delete_cached_value(appointment)

    @property
    def price(self) -> int:
        return int(self.booking["price"][0])

    @property
    def to_ask(self) -> int:
        """Return what Checkout asks for now, in minor units: what is left of the deposit, else all that is owed.

        Checkout asks for all that is owed once the patient has come, and if what is left of the deposit is less than
        Stripe's minimum.
        """
        deposit_left = self.terms.deposit - self.amounts.net
        over = self.booking["arrived"] or self.booking["attendance"] != Appointment.Status.BOOKED
        if over or not is_chargeable(deposit_left, self.currency):
            return self.amount_owed
        return min(self.amount_owed, deposit_left)

    @property
    def payable_online(self) -> bool:
        """Return whether the patient can pay online now: something is asked for, and it reaches Stripe's minimum.

        A few cents that are left after a part was paid have to be taken at the desk.
        """
        return self.payable and is_chargeable(self.to_ask, self.currency)

    @property
    def wants_card(self) -> bool:
        """Return whether the clinic asks the patient to leave a card, and has got none yet."""
        booked = self.booking["attendance"] == Appointment.Status.BOOKED
        return bool(booked and self.booking["no_show_fee"] and self.card != CardState.KEPT)

    @property
    def keeps_card_while_paying(self) -> bool:
        """Return whether Checkout also keeps the card: a card is wanted, and the payment leaves something owed."""
        return self.wants_card and self.to_ask < self.amount_owed

    @property
    def fee_to_charge(self) -> int:
        """Return how much may be charged to the kept card now, in minor units; 0 if nothing may.

        It is what is owed after a no-show or after a cancellation with a fee, but at most what the patient agreed to.
        """
        absent = self.terms.no_show and self.terms.no_show_fee
        asked = self.payable and (absent or (self.terms.canceled and self.terms.fee))
        amount = min(self.amount_owed, self.card_limit)
        return amount if asked and is_chargeable(amount, self.currency) else 0

    @property
    def has_no_show_fee(self) -> bool:
        """Return whether the patient didn't come, and owes the fee agreed to for that instead of the price."""
        left_card = self.card in (CardState.KEPT, CardState.REMOVED)
        return self.terms.no_show and self.terms.no_show_fee > 0 and left_card

    @property
    def has_instructions(self) -> bool:
        """Return whether the patient has got instructions to pay, such as a voucher's number, and hasn't paid yet."""
        return self.attempt == AttemptState.INSTRUCTIONS

    @property
    def refundable(self) -> int:
        """Return how much may still be given back, in minor units; 0 while a dispute is open."""
        if self.status == PaymentStatus.DISPUTED:
            return 0
        return max(0, self.amounts.net - self.amount_refund_pending)

    @property
    def to_give_back(self) -> int:
        """Return what was paid too much and isn't being refunded already, in minor units."""
        return max(0, self.amount_overpaid - self.amount_refund_pending)

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
        """Return the terms that decide how much is due: price, deposit, fee, whether the visit was canceled, and more.

        They are read from the payment's own row, because that is the row that the ledger locks.
        """
        booking = self.booking
        return Terms(
            price=booking["price"][0],
            currency=self.currency,
            canceled=booking["attendance"] == Appointment.Status.CANCELED,
            slot_lost=self.slot_lost,
            fee=booking["fee"],
            deposit=booking["deposit"],
            earlier_prices=frozenset(self.earlier_prices),
            no_show=booking["attendance"] == Appointment.Status.NO_SHOW,
            no_show_fee=booking["no_show_fee"],
        )

    @property
    def amounts(self) -> Amounts:
        return Amounts(**{name: getattr(self, f"amount_{name}") for name in SUMS})

    @property
    def standing(self) -> Standing:
        return Standing(
            status=PaymentStatus(self.status),
            amounts=self.amounts,
            payable=self.payable,
            attempt=self.attempt,
            failure_code=self.failure_code,
            method=self.method,
            dispute_due_by=self.dispute_due_by,
            reviews=tuple(Review(reason) for reason in self.reviews),
            card=self.card,
            card_brand=self.card_brand,
            card_limit=self.card_limit,
        )

    @standing.setter
    def standing(self, standing: Standing) -> None:
        self.status, self.payable, self.attempt = standing.status, standing.payable, standing.attempt
        self.failure_code, self.method = standing.failure_code, standing.method
        self.dispute_due_by, self.reviews = standing.dispute_due_by, list(standing.reviews)
        self.card, self.card_brand, self.card_limit = standing.card, standing.card_brand, standing.card_limit
        for name in SUMS + RESULTS:
            setattr(self, f"amount_{name}", getattr(standing.amounts, name))
