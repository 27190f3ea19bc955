"""Addresses of the clinic's other software that are told of changes, by the specification Standard Webhooks."""

import datetime
from contextlib import suppress
from typing import Any, Self

from django.db import models
from django.db.models.functions import Coalesce
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from payments.models import Feed, Installation
from payments.models.feed import STAFF

from ..outgoing import secrets
from ..outgoing.addresses import check_url
from ..outgoing.event_types import check_event_types

OLD_SECRET_FOR = datetime.timedelta(hours=24)  # how long messages are also signed with the secret before
LONGEST_PAUSE = 60  # seconds between two tries at an endpoint that fails
DISABLE_AFTER = datetime.timedelta(days=3)  # without one success


class WebhookEndpointQuerySet(models.QuerySet["WebhookEndpoint"]):
    def ready(self) -> Self:
        """Return the endpoints to which messages may be sent now."""
        rested = models.Q(paused_until=None) | models.Q(paused_until__lte=timezone.now())
        return self.filter(rested, is_active=True)

    def behind(self) -> Self:
        """Return the active endpoints that have entries of the staff's feed (list of changes) to read."""
        position = Feed.objects.of(STAFF).position
        epoch = Installation.objects.get().epoch
        return self.filter(is_active=True).exclude(seq=position.seq, epoch=epoch)


class WebhookEndpoint(models.Model):
    """A URL to which messages about changes are sent, and up to which change messages were made for it.

    `seq` is the number of the last entry of the staff's feed (list of changes) of which messages were made, in the
    installation's `epoch`, which changes when a backup was restored. The secrets are encrypted. `failures` counts the
    failed tries in a row, and `failing_since` is when the first of them was made.
    """

    class Reason(models.TextChoices):
        FAILING = "failing", _("No success for three days")
        GONE = "gone", _("The receiver answered 410: gone")

    url = models.CharField(_("URL"), max_length=500, validators=[check_url])
    description = models.CharField(_("description"), max_length=200, blank=True)
    event_types = models.JSONField(
        _("event types"), default=list, blank=True, validators=[check_event_types], help_text=_("None chosen: all.")
    )
    is_active = models.BooleanField(pgettext_lazy("in use", "active"), default=True)
    secret = models.TextField(editable=False)
    old_secret = models.TextField(editable=False, blank=True)
    old_secret_until = models.DateTimeField(_("old secret valid until"), null=True, editable=False)
    seq = models.PositiveBigIntegerField(_("told until number"), editable=False)
    epoch = models.CharField(max_length=16, editable=False)
    failures = models.PositiveIntegerField(_("failed tries in a row"), default=0, editable=False)
    failing_since = models.DateTimeField(_("failing since"), null=True, editable=False)
    paused_until = models.DateTimeField(_("paused until"), null=True, editable=False)
    disabled_at = models.DateTimeField(_("disabled"), null=True, editable=False)
    disabled_because = models.CharField(_("disabled because"), max_length=8, choices=Reason, editable=False)
    created_at = models.DateTimeField(_("created"), auto_now_add=True)

    objects = WebhookEndpointQuerySet.as_manager()

    class Meta:
        ordering = ("pk",)
        verbose_name = _("webhook endpoint")
        verbose_name_plural = _("webhook endpoints")

    def __str__(self) -> str:
        return self.url

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Save. A new endpoint gets a secret, which `new_secret` returns, and starts at the present number."""
        if self._state.adding:
            self.secret = secrets.encrypt(secrets.new_secret())
            self.seq = Feed.objects.of(STAFF).head
            self.epoch = Installation.objects.get().epoch
        super().save(*args, **kwargs)

    def readable_secret(self) -> str:
        """Return the secret as text that begins with whsec_. Raises SecretLostError."""
        return secrets.decrypt(self.secret)

    def signing_secrets(self) -> list[str]:
        """Return the secrets to sign with: the current one and, for a day after a rotation, the one before.

        An earlier secret that can't be decrypted is left out. Raises SecretLostError if the current one can't be.
        """
        valid = [secrets.decrypt(self.secret)]
        if self.old_secret_until and self.old_secret_until > timezone.now():
            with suppress(secrets.SecretLostError):
                valid.append(secrets.decrypt(self.old_secret))
        return valid

    @property
    def can_sign(self) -> bool:
        """Return whether the current secret can be decrypted."""
        try:
            return bool(self.readable_secret())
        except secrets.SecretLostError:
            return False

    def rotate_secret(self) -> str:
        """Store a new secret and return it. Messages are also signed with the old one for OLD_SECRET_FOR."""
        new = secrets.new_secret()
        self.old_secret, self.secret = self.secret, secrets.encrypt(new)
        self.old_secret_until = timezone.now() + OLD_SECRET_FOR
        self.save(update_fields=["secret", "old_secret", "old_secret_until"])
        return new

    def wants(self, event_type: str) -> bool:
        return not self.event_types or event_type in self.event_types

    def enable(self) -> None:
        """Forget earlier failures, so that waiting messages are sent at once. The caller saves the row."""
        self.is_active, self.failures = True, 0
        self.failing_since = self.paused_until = self.disabled_at = None
        self.disabled_because = ""

    def succeeded(self) -> None:
        """Store that a message was delivered."""
        failed_before = WebhookEndpoint.objects.filter(pk=self.pk).exclude(failures=0)
        failed_before.update(failures=0, failing_since=None, paused_until=None)

    def failed(self, pause: float) -> None:
        """Store that a try failed. No message is sent for at least `pause` seconds, and for longer after more failures.

        So an endpoint that hangs costs one try a minute, however many messages wait for it.
        """
        now = timezone.now()
        grown = min(2.0 ** min(self.failures, 10), LONGEST_PAUSE)
        WebhookEndpoint.objects.filter(pk=self.pk).update(
            failures=models.F("failures") + 1,
            failing_since=Coalesce("failing_since", now, output_field=models.DateTimeField()),
            paused_until=now + datetime.timedelta(seconds=max(pause, grown)),
        )

    def disable(self, reason: Reason) -> bool:
        """Send no more messages to the endpoint. Return True to one caller only, who then tells people."""
        active = WebhookEndpoint.objects.filter(pk=self.pk, is_active=True)
        return bool(active.update(is_active=False, disabled_at=timezone.now(), disabled_because=reason))

    @property
    def is_hopeless(self) -> bool:
        """Return whether no try has succeeded for DISABLE_AFTER."""
        return bool(self.failing_since and self.failing_since < timezone.now() - DISABLE_AFTER)
