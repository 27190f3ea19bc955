"""EventReceipt: one row for each of Stripe's events, so that no event changes a payment twice."""

import datetime
from typing import Self

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from .change import StatusChange
from .payment import Payment

SETTLED = ("deliveries", "outcome", "payment", "settled_at", "object_id", "detail")  # what handling an event changes


class EventReceiptQuerySet(models.QuerySet["EventReceipt"]):
    def settle(self, outcome: "EventReceipt.Outcome", payment: Payment | None) -> None:
        """Store `outcome`, `payment` and the current time in all these EventReceipt rows."""
        self.update(outcome=outcome, payment=payment, settled_at=timezone.now())

    def about(self, payment: Payment) -> Self:
        """Return the EventReceipt rows of events that changed this payment or are about one of its Stripe objects."""
        return self.filter(models.Q(payment=payment) | models.Q(object_id__in=payment.facts.values("stripe_id")))

    def unmirrored(self) -> Self:
        """Return the EventReceipt rows of events whose Stripe object wasn't copied to dj-stripe's tables since."""
        return self.filter(mirrored_at=None).exclude(object_id="")

    def unstored(self) -> Self:
        """Return the EventReceipt rows of handled events of which dj-stripe's Event row isn't stored yet."""
        return self.filter(event_stored_at=None, object_id__gt="")

    def needing_a_person(self) -> Self:
        """Return the EventReceipt rows of events that a person has to look at: failed, not understood or given up."""
        return self.filter(outcome__in=EventReceipt.HELPLESS)

    def not_applied(self) -> dict[str, tuple[int, datetime.datetime]]:
        """Count the events that aren't applied, by outcome. Return {outcome: (count, when the oldest was received)}."""
        found = self.filter(outcome__in=EventReceipt.UNAPPLIED).order_by()
        rows = found.values_list("outcome").annotate(models.Count("pk"), models.Min("received_at"))
        return {outcome: (count, since) for outcome, count, since in rows}

    def failed(self) -> Self:
        return self.filter(outcome=EventReceipt.Outcome.FAILED)


class EventReceipt(models.Model):
    """One Stripe event that this site has received, and its outcome."""

    class Outcome(models.TextChoices):
        RECEIVED = "received", _("Received")
        APPLIED = "applied", _("Applied")
        NO_CHANGE = "no_change", _("Nothing new")
        DEFERRED = "deferred", _("Waiting for its payment")
        IGNORED_TYPE = "ignored_type", _("Type not used")
        IGNORED_FOREIGN = "ignored_foreign", _("From another site")
        REJECTED_LIVEMODE = "rejected_livemode", _("Wrong mode (live or test)")
        QUARANTINED = "quarantined", _("Not understood")
        FAILED = "failed", _("Failed")
        DEAD = "dead", _("Given up")

    HELPLESS = (Outcome.FAILED, Outcome.QUARANTINED, Outcome.DEAD)  # a person has to look
    PENDING = (Outcome.RECEIVED, Outcome.DEFERRED)
    UNAPPLIED = (*PENDING, *HELPLESS)

    stripe_event_id = models.CharField(max_length=255, unique=True)
    type = models.CharField(max_length=250)
    livemode = models.BooleanField()
    stripe_created = models.PositiveBigIntegerField(_("created at Stripe"))  # Unix seconds
    object_id = models.CharField(max_length=255, blank=True)  # the Stripe object that the event is about
    outcome = models.CharField(max_length=20, choices=Outcome, default=Outcome.RECEIVED)
    detail = models.CharField(max_length=200, blank=True)
    payment = models.ForeignKey(Payment, models.PROTECT, null=True, blank=True, related_name="receipts")
    deliveries = models.PositiveIntegerField(default=0)
    received_at = models.DateTimeField(auto_now_add=True)
    settled_at = models.DateTimeField(null=True, blank=True)
    event_stored_at = models.DateTimeField(_("stored by dj-stripe"), null=True, blank=True)
    mirrored_at = models.DateTimeField(_("copied by dj-stripe"), null=True, blank=True)

    objects = EventReceiptQuerySet.as_manager()
    change: StatusChange | None = None  # what applying the event changed; not stored

    class Meta:
        ordering = ("-received_at",)
        verbose_name = _("event receipt")
        verbose_name_plural = _("event receipts")
        indexes = (
            models.Index(fields=("outcome", "received_at"), name="receipt_outcome_received"),
            models.Index(fields=("object_id",), condition=models.Q(object_id__gt=""), name="receipt_object"),
            models.Index(
                fields=("id",), condition=models.Q(event_stored_at=None, object_id__gt=""), name="receipt_unstored"
            ),
        )
        permissions = (("replay_event", "Can apply an event again"),)

    def __str__(self) -> str:
        return self.stripe_event_id

    @property
    def done(self) -> bool:
        """Return whether the event has been dealt with, so that another delivery can be ignored.

        An event that failed, or whose processing was interrupted, isn't done.
        """
        return self.outcome not in (self.Outcome.RECEIVED, self.Outcome.FAILED)

    def settle_as(self, outcome: "EventReceipt.Outcome", payment: Payment | None = None) -> None:
        """Set the outcome, the payment and the current time on this EventReceipt, without saving it."""
        self.outcome, self.payment, self.settled_at = outcome, payment, timezone.now()
