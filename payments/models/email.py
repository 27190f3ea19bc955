"""E-mails about payments: one row for each e-mail. `manage.py send_emails` creates the rows and sends the e-mails."""

import datetime
from typing import Self

from django.conf import settings
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from .change import StatusChange
from .pay_link import PayLink
from .payment import Payment

FIRST_PAUSE, LONGEST_PAUSE = 60, 60 * 60  # seconds between tries; a mail server answers sooner
GIVE_UP_AFTER = datetime.timedelta(days=3)


class EmailQuerySet(models.QuerySet["Email"]):
    def unsent(self) -> Self:
        """Return e-mails that are neither sent nor given up."""
        return self.filter(sent_at=None, given_up_at=None)

    def due(self) -> Self:
        """Return e-mails to be sent now, the oldest first."""
        return self.unsent().filter(try_at__lte=timezone.now()).order_by("pk")

    def given_up(self) -> Self:
        return self.exclude(given_up_at=None)

    def revive(self) -> int:
        """Make given-up e-mails due now, and return how many there were."""
        now = timezone.now()
        return self.given_up().update(given_up_at=None, try_at=now, tries=0, created_at=now)


class Email(models.Model):
    """One e-mail about a payment. The recipient's address and the text are not stored.

    Most e-mails report a `change`. `amount`, in minor units, is the sum that such an e-mail reports: received,
    refunded, not debited, or taken back. E-mails of the kinds in ASKING have no change: they ask for `amount` through
    `pay_link`. Their `start` is the appointment's start when the e-mail was queued, and `number` counts those that
    staff sent before. A payment gets one such e-mail for each kind, start and number.
    """

    class Kind(models.TextChoices):
        RECEIPT = "receipt", _("Receipt")
        REFUND = "refund", _("Refund")
        DEBIT_FAILED = "debit_failed", _("Direct debit failed")
        TAKEN_BACK = "taken_back", _("Taken back by the bank")
        PAY_LINK = "pay_link", _("Pay link")
        REMINDER = "reminder", _("Reminder")

    ASKING = (Kind.PAY_LINK, Kind.REMINDER)

    payment = models.ForeignKey(Payment, models.PROTECT, related_name="emails", verbose_name=_("payment"))
    change = models.OneToOneField(StatusChange, models.PROTECT, related_name="email", null=True, blank=True)
    pay_link = models.ForeignKey(PayLink, models.PROTECT, related_name="emails", null=True, blank=True)
    start = models.DateTimeField(null=True, blank=True)
    number = models.PositiveIntegerField(default=0)
    kind = models.CharField(max_length=20, choices=Kind)
    amount = models.PositiveBigIntegerField(_("amount"))
    tries = models.PositiveIntegerField(_("tries"), default=0)
    try_at = models.DateTimeField(_("next try"), default=timezone.now)
    error = models.CharField(_("error"), max_length=80, blank=True)  # why the last try failed; contains no address
    created_at = models.DateTimeField(default=timezone.now)
    sent_at = models.DateTimeField(_("sent"), null=True, blank=True)
    given_up_at = models.DateTimeField(_("given up"), null=True, blank=True)

    objects = EmailQuerySet.as_manager()

    class Meta:
        ordering = ("-pk",)
        verbose_name = _("e-mail")
        verbose_name_plural = _("e-mails")
        indexes = (
            models.Index(fields=("try_at",), condition=models.Q(sent_at=None, given_up_at=None), name="email_due"),
        )
        constraints = (
            models.UniqueConstraint(
                fields=("kind", "payment", "start", "number"),
                condition=models.Q(change=None),
                name="one_email_per_kind_and_start",
            ),
            models.CheckConstraint(
                condition=models.Q(change=None, start__isnull=False, pay_link__isnull=False)
                | models.Q(change__isnull=False, start=None, pay_link=None),
                name="email_reports_or_asks",
            ),
        )

    def __str__(self) -> str:
        return f"{self.kind} {self.payment_id}"

    def claim(self) -> bool:
        """Reserve the e-mail for this process until the next try is due, and return whether this succeeded.

        If this process dies while sending, another process claims the e-mail at the next try.
        """
        pause = datetime.timedelta(seconds=min(FIRST_PAUSE * 2**self.tries, LONGEST_PAUSE))
        mine = Email.objects.unsent().filter(pk=self.pk, tries=self.tries)
        claimed = mine.update(tries=self.tries + 1, try_at=timezone.now() + pause)
        self.tries += claimed
        return bool(claimed)

    @property
    def is_waiting(self) -> bool:
        return not self.sent_at and not self.given_up_at

    def sent(self) -> None:
        """Store that the e-mail has been sent now."""
        Email.objects.filter(pk=self.pk).update(sent_at=timezone.now(), error="")

    def failed(self, error: str, *, hopeless: bool) -> None:
        """Store why sending failed. Give up if the error is `hopeless` or the e-mail older than GIVE_UP_AFTER."""
        now = timezone.now()
        over = hopeless or self.created_at < now - GIVE_UP_AFTER
        Email.objects.filter(pk=self.pk).update(error=error[:80], given_up_at=now if over else None)


class Correspondent(models.Model):
    """The language of the page on which a user last started to pay, for e-mails to this user."""

    user = models.OneToOneField(settings.AUTH_USER_MODEL, models.CASCADE, primary_key=True, related_name="+")
    language = models.CharField(max_length=7)

    class Meta:
        verbose_name = _("correspondent")
        verbose_name_plural = _("correspondents")

    def __str__(self) -> str:
        return self.language


class FeedReader(models.Model):
    """A worker's position in the staff feed: `seq` is the number of the last entry that the worker has read.

    Entries are numbered without holes in the order of their commits, so the worker misses none.
    """

    name = models.CharField(max_length=20, unique=True)
    seq = models.PositiveBigIntegerField(default=0)

    class Meta:
        verbose_name = _("feed reader")
        verbose_name_plural = _("feed readers")

    def __str__(self) -> str:
        return f"{self.name} #{self.seq}"
