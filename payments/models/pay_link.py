"""Links that open one payment without signing in; patients get them as a QR code, by e-mail or by text message."""

import base64
import datetime
import secrets
from enum import StrEnum
from functools import cached_property
from typing import Self

from django.conf import settings
from django.contrib.auth.models import AbstractUser
from django.db import models, transaction
from django.urls import reverse
from django.utils import timezone
from django.utils.crypto import constant_time_compare, salted_hmac
from django.utils.translation import gettext_lazy as _

from people.digests import digest_of

from ..addresses import absolute
from ..domain.status import Amounts
from .payment import Payment

VALID = datetime.timedelta(days=14)  # how long a patient can pay through a link after it was last shown or sent
EXTEND_AFTER = datetime.timedelta(days=1)  # so that pages that show a link write to the database once a day at most
RECEIPT_SHOWN = datetime.timedelta(days=30)  # how long a link shows the receipt after everything was paid
PREFIX = "pl-"  # begins every token; logs.py finds the tokens by it


def new_nonce() -> str:
    return secrets.token_hex(16)


def in_two_weeks() -> datetime.datetime:
    """Return when a link that is made now expires."""
    return timezone.now() + VALID


class LinkState(StrEnum):
    """What a link leads to now: the page for paying (OPEN), the receipt (PAID), or a page that says why neither.

    NOTHING_DUE: nothing is owed any more, and nothing was received. RECEIPT_OVER: paid more than RECEIPT_SHOWN ago.
    """

    OPEN = "open"
    PAID = "paid"
    NOTHING_DUE = "nothing_due"
    RECEIPT_OVER = "receipt_over"
    EXPIRED = "expired"
    REPLACED = "replaced"
    ENDED = "ended"


class PayLinkQuerySet(models.QuerySet["PayLink"]):
    def find(self, token: str) -> "PayLink":
        """Return the link with this token, and with it its payment. Raises PayLink.DoesNotExist.

        The database compares hashes, so the time of the comparison tells nothing about a token.
        """
        appointment = "payment__appointment"
        return self.select_related(f"{appointment}__patient", f"{appointment}__practitioner").get(
            digest=digest_of(token)
        )

    def unended(self) -> Self:
        """Return the links that nobody has ended. Some of them may be paid or expired, see `PayLink.state`."""
        return self.filter(ended_at=None)

    def offer(self, payment: Payment, channel: "PayLink.Channel", actor: AbstractUser | None = None) -> "PayLink":
        """Return the payment's open link for this channel, valid for VALID from now on. Make one if there is none.

        `actor` is the member of staff who shows or sends the link, or None for a job.
        """
        soon = timezone.now() + VALID - EXTEND_AFTER
        found = self.unended().filter(payment=payment, channel=channel).select_related("payment__appointment").first()
        if found and found.is_usable and found.expires_at > soon:
            return found
        with transaction.atomic():
            row = Payment.objects.locked().get(pk=payment.pk)
            found = self.unended().filter(payment=row, channel=channel).select_related("payment__appointment").first()
            if not found or not found.is_usable:
                return self._replace(row, found, channel, actor)
            found.expires_at = in_two_weeks()
            found.save(update_fields=["expires_at"])
            return found

    def replace(self, payment: Payment, channel: "PayLink.Channel", actor: AbstractUser) -> "PayLink":
        """End the payment's link for this channel, if there is one, and return a new link."""
        with transaction.atomic():
            row = Payment.objects.locked().get(pk=payment.pk)
            found = self.unended().filter(payment=row, channel=channel).select_related("payment__appointment").first()
            return self._replace(row, found, channel, actor)

    def _replace(
        self, payment: Payment, old: "PayLink | None", channel: "PayLink.Channel", actor: AbstractUser | None
    ) -> "PayLink":
        """End the link `old`, and return a new link. The payment's row is locked."""
        if old:
            old.end(PayLink.Ending.REPLACED if old.state == LinkState.OPEN else PayLink.Ending.OVER, actor)
        by = {"patient_id": payment.appointment.patient_id, "made_by_id": actor.pk if actor else None}
        link = PayLink(payment=payment, channel=channel, version=payment.version, **by)
        link.digest = digest_of(link.token)
        link.save(force_insert=True)
        return link


class PayLink(models.Model):
    """A link to one payment. Its token is derived from `nonce` and SECRET_KEY, and only the token's hash is stored.

    So a copy of the database opens no link, and the site can show a link again. A link ends by itself when nothing is
    owed any more. That isn't stored, but follows from the payment's changes after `version`, the payment's version when
    the link was made. A link also ends when the appointment turns out to be another patient's.
    """

    class Channel(models.TextChoices):
        """How a patient gets a link. A payment has at most one open link for each channel."""

        DESK = "desk", _("QR code")
        EMAIL = "email", _("E-mail")
        SMS = "sms", _("Text message")
        API = "api", _("Other software")

    class Ending(models.TextChoices):
        """Why a link was ended. OVER: it was paid or expired when another link was made."""

        STAFF = "staff", _("Ended")
        REPLACED = "replaced", _("Replaced")
        OVER = "over", _("Over")

    payment = models.ForeignKey(Payment, models.PROTECT, related_name="pay_links")
    patient = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    channel = models.CharField(max_length=5, choices=Channel)
    nonce = models.CharField(max_length=32, default=new_nonce, editable=False)
    digest = models.CharField(max_length=64, unique=True, editable=False)
    version = models.PositiveIntegerField()
    made_at = models.DateTimeField(_("made"), default=timezone.now)
    made_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, null=True, blank=True, related_name="+")
    expires_at = models.DateTimeField(_("expires"), default=in_two_weeks)
    sent_at = models.DateTimeField(_("sent"), null=True, blank=True)  # when it was last given to the SMS function
    ended_at = models.DateTimeField(_("ended"), null=True, blank=True)
    ended_because = models.CharField(max_length=8, choices=Ending, blank=True)
    ended_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, null=True, blank=True, related_name="+")

    objects = PayLinkQuerySet.as_manager()

    class Meta:
        ordering = ("-pk",)
        verbose_name = _("pay link")
        verbose_name_plural = _("pay links")
        constraints = (
            models.UniqueConstraint(
                fields=("payment", "channel"), condition=models.Q(ended_at=None), name="one_pay_link_per_channel"
            ),
        )

    def __str__(self) -> str:
        return f"{self.channel} #{self.pk}"

    @cached_property
    def token(self) -> str:
        """Return the secret part of the link's URL. It is random to everybody who doesn't know SECRET_KEY."""
        secret = salted_hmac("payments.pay_link", self.nonce, algorithm="sha256").digest()[:16]
        return PREFIX + base64.urlsafe_b64encode(secret).decode().rstrip("=")

    @property
    def path(self) -> str:
        return reverse("clinic:pay_link", args=[self.token])

    @property
    def url(self) -> str:
        return absolute("clinic:pay_link", self.token)

    @property
    def settled_at(self) -> datetime.datetime | None:
        """Return when nothing was owed or on its way any more, for the first time since the link was made.

        Changes later than `self.payment.version` are ignored, because the payment's amounts don't include them.
        """
        if self.payment.version <= self.version:
            return None
        since = self.payment.changes.filter(version__gt=self.version, version__lte=self.payment.version)
        for change in since.order_by("version"):
            if not Amounts(**change.standing["amounts"]).missing:
                return change.created_at
        return None

    @property
    def state(self) -> LinkState:
        now = timezone.now()
        if self.ended_because == self.Ending.REPLACED:
            return LinkState.REPLACED
        if self.ended_because == self.Ending.STAFF or self.patient_id != self.payment.appointment.patient_id:
            return LinkState.ENDED
        if settled_at := self.settled_at:
            if not self.payment.amount_received:
                return LinkState.NOTHING_DUE
            return LinkState.PAID if now < settled_at + RECEIPT_SHOWN else LinkState.RECEIPT_OVER
        return LinkState.OPEN if now < self.expires_at else LinkState.EXPIRED

    @property
    def is_usable(self) -> bool:
        """Return whether the link is open and can be shown again. It can't after SECRET_KEY was changed."""
        known = constant_time_compare(digest_of(self.token), self.digest)
        return known and not self.ended_at and self.state == LinkState.OPEN

    def end(self, because: Ending, actor: AbstractUser | None = None) -> None:
        """End the link now, unless it has been ended before."""
        by = actor.pk if actor else None
        ending = {"ended_at": timezone.now(), "ended_because": because, "ended_by_id": by}
        PayLink.objects.unended().filter(pk=self.pk).update(**ending)
