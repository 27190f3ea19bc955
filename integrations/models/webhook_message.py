"""Messages to webhook endpoints about changes of payments, and the tries to deliver them."""

import datetime
import random
from typing import Self

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from payments.models import Payment, StatusChange

from .webhook_endpoint import WebhookEndpoint

SECOND, MINUTE, HOUR = 1, 60, 3600
# Pauses after the first, second, ... failed try, in seconds; then the message is given up after a bit more than three
# days: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
PAUSES = (5 * SECOND, 5 * MINUTE, 30 * MINUTE, 2 * HOUR, 5 * HOUR, 10 * HOUR, 14 * HOUR, 20 * HOUR, 24 * HOUR)
JITTER = 0.1  # pauses are spread by a tenth either way, so that messages that failed together don't come together
CLAIM = datetime.timedelta(seconds=30)  # longer than one try takes; afterwards another process may try


class WebhookMessageQuerySet(models.QuerySet["WebhookMessage"]):
    def waiting(self) -> Self:
        """Return the messages that are neither delivered nor given up."""
        return self.filter(delivered_at=None, given_up_at=None)

    def send_again(self) -> None:
        """Make these messages due now, also those that were delivered or given up."""
        self.update(tries=0, try_at=timezone.now(), delivered_at=None, given_up_at=None)

    def due(self) -> Self:
        """Return the messages to be sent now, the oldest change first.

        A message waits while an earlier one about its payment waits at its endpoint.
        """
        same = {"endpoint": models.OuterRef("endpoint"), "payment": models.OuterRef("payment")}
        earlier = WebhookMessage.objects.waiting().filter(**same, change__lt=models.OuterRef("change"))
        in_order = models.F("change_id").asc(nulls_first=True)
        due = self.waiting().filter(try_at__lte=timezone.now(), endpoint__in=WebhookEndpoint.objects.ready())
        return due.filter(~models.Exists(earlier)).order_by(in_order, "pk")


class WebhookMessage(models.Model):
    """One message to one endpoint. `body` is sent unchanged at each try, because it is signed as bytes.

    `webhook_id` is by what receivers recognize a message that they get twice. A message without a change is a test, or
    tells that a backup was restored.
    """

    endpoint = models.ForeignKey(
        WebhookEndpoint, models.CASCADE, related_name="messages", verbose_name=_("webhook endpoint")
    )
    webhook_id = models.CharField(_("id"), max_length=80)
    type = models.CharField(_("event type"), max_length=40)
    payment = models.ForeignKey(
        Payment, models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("payment")
    )
    change = models.ForeignKey(StatusChange, models.PROTECT, null=True, blank=True, related_name="+")
    body = models.TextField(_("content"))
    tries = models.PositiveIntegerField(_("tries"), default=0)
    try_at = models.DateTimeField(_("next try"), default=timezone.now)
    created_at = models.DateTimeField(_("created"), default=timezone.now)
    delivered_at = models.DateTimeField(_("delivered"), null=True, blank=True)
    given_up_at = models.DateTimeField(_("given up"), null=True, blank=True)

    objects = WebhookMessageQuerySet.as_manager()

    class Meta:
        ordering = ("-pk",)
        verbose_name = _("webhook message")
        verbose_name_plural = _("webhook messages")
        constraints = (
            models.UniqueConstraint(fields=("endpoint", "change"), name="one_message_per_endpoint_and_change"),
        )
        indexes = (
            models.Index(
                fields=("endpoint", "payment", "change"),
                condition=models.Q(delivered_at=None, given_up_at=None),
                name="webhook_message_waiting",
            ),
        )

    def __str__(self) -> str:
        return f"{self.type} {self.webhook_id}"

    def claim(self) -> bool:
        """Reserve the message for this thread for the time CLAIM, and return whether this succeeded.

        If the process dies while sending, another process sends the message again after CLAIM.
        """
        mine = WebhookMessage.objects.waiting().filter(pk=self.pk, tries=self.tries)
        claimed = mine.update(tries=self.tries + 1, try_at=timezone.now() + CLAIM)
        self.tries += claimed
        return bool(claimed)

    def delivered(self) -> None:
        """Store that the endpoint has accepted the message."""
        WebhookMessage.objects.filter(pk=self.pk).update(delivered_at=timezone.now())

    def failed(self, pause: float) -> None:
        """Store when the message is tried again, in `pause` seconds at the earliest, or give it up after the last try.

        `pause` is what the endpoint asked for.
        """
        now = timezone.now()
        mine = WebhookMessage.objects.filter(pk=self.pk, tries=self.tries)  # unless another process has claimed it
        if self.tries > len(PAUSES):
            mine.update(given_up_at=now)
            return
        planned = PAUSES[self.tries - 1] * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311 - guards nothing
        mine.update(try_at=now + datetime.timedelta(seconds=max(pause, planned)))


class WebhookAttempt(models.Model):
    """One try to deliver a message: the answer's HTTP status and first 4 KB, or why there was no answer."""

    class Failure(models.TextChoices):
        REFUSED_ADDRESS = "refused_address", _("Address not allowed")
        NAME = "name", _("Host name not found")
        CONNECTION = "connection", _("No connection")
        TIMEOUT = "timeout", _("No complete answer in time")
        PROTOCOL = "protocol", _("Answer is no HTTP")
        SECRET = "secret", _("Secret can’t be decrypted")

    message = models.ForeignKey(
        WebhookMessage, models.CASCADE, related_name="attempts", verbose_name=_("webhook message")
    )
    at = models.DateTimeField(_("time"), default=timezone.now)
    status = models.PositiveSmallIntegerField(_("HTTP status"), null=True, blank=True)
    failure = models.CharField(_("failure"), max_length=16, choices=Failure, blank=True)
    milliseconds = models.PositiveIntegerField(_("milliseconds"))
    answer = models.TextField(_("answer"), blank=True)

    class Meta:
        ordering = ("-pk",)
        verbose_name = _("webhook attempt")
        verbose_name_plural = _("webhook attempts")

    def __str__(self) -> str:
        return str(self.status or self.failure)
