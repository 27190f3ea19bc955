"""The history of a payment: one row for each change."""

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _

from ..domain.status import PaymentStatus
from .payment import Payment

NO_NEWS = (PaymentStatus.UNPAID, PaymentStatus.CHECKOUT_OPEN, PaymentStatus.EXPIRED, PaymentStatus.VOID)


class StatusChange(models.Model):
    """One change of a payment's status, amounts or appointment. Rows are never updated or deleted.

    The audit log, the payment's timeline and toasts show these rows.
    """

    class Source(models.TextChoices):
        WEBHOOK = "webhook", _("Stripe")
        RETURN_PAGE = "return_page", _("Return from Checkout")
        CHECKOUT = "checkout", _("Checkout")
        REFUND = "refund", _("Refund")
        DESK = "desk", _("Front desk")
        APPOINTMENT = "appointment", _("Appointment")
        RECONCILE = "reconcile", _("Checked with Stripe")
        REPLAY = "replay", _("Event applied again")
        CATCH_UP = "catch_up", _("Missed event fetched")
        SWEEP = "sweep", _("Automatic check")

    payment = models.ForeignKey(Payment, models.PROTECT, related_name="changes")
    version = models.PositiveIntegerField()
    from_status = models.CharField(max_length=20, choices=PaymentStatus)
    to_status = models.CharField(max_length=20, choices=PaymentStatus)
    standing = models.JSONField()  # all of the payment's Standing after this change, amounts in minor units
    # The fields of the appointment, and of the card kept for it, that changed, with their new values:
    booking = models.JSONField(default=dict, blank=True)
    source = models.CharField(max_length=12, choices=Source)
    stripe_event_id = models.CharField(max_length=255, blank=True)
    actor = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, null=True, blank=True, related_name="+")
    occurred_at = models.DateTimeField(_("happened at Stripe"), null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    trace: object = None  # when the change was pushed, seen and e-mailed; set for the page of one payment, not stored

    class Meta:
        ordering = ("payment", "version")
        verbose_name = _("status change")
        verbose_name_plural = _("status changes")
        constraints = (models.UniqueConstraint(fields=("payment", "version"), name="one_change_per_version"),)

    def __str__(self) -> str:
        return f"{self.from_status} -> {self.to_status}"

    @property
    def moved(self) -> bool:
        """Return whether the payment's status changed, and not just its amounts or its appointment."""
        return self.from_status != self.to_status

    @property
    def is_news(self) -> bool:
        """Return whether staff are told of this change: money moved, a card was declined, or a person has to look.

        That a payment page opened or closed is no news, and neither is what staff did to the appointment.
        """
        if self.moved and self.to_status not in NO_NEWS:
            return True
        return self.declined or (not self.booking and bool(self.standing["reviews"]))

    @property
    def declined(self) -> bool:
        """Return whether a card was declined while the payment page stays open, so that the patient can try again."""
        stayed = not self.moved or self.to_status in NO_NEWS
        return stayed and not self.booking and self.standing["attempt"] == "failed"

    @property
    def is_news_to_patient(self) -> bool:
        """Return whether a toast tells the patient of this change: money moved, or a card was declined.

        That a payment page opened or closed is no news, because the patient or this site has just done it.
        """
        return self.declined or (self.moved and self.to_status not in NO_NEWS)

    @property
    def latency(self) -> float | None:
        """Return the seconds from Stripe's event to the creation of this row, or None if no event caused the change.

        Stripe gives the event's time in whole seconds.
        """
        return (self.created_at - self.occurred_at).total_seconds() if self.occurred_at else None
