"""Logs which member of staff opened which payment, because a payment's page shows a patient's record."""

import datetime

from django.conf import settings
from django.contrib.auth.models import AbstractUser
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from .payment import Payment

AGAIN_AFTER = datetime.timedelta(minutes=15)  # so that a visit adds one row, not one for each page and fragment loaded


class RecordViewQuerySet(models.QuerySet["RecordView"]):
    def note(self, payment: Payment, user: AbstractUser, within: datetime.timedelta = AGAIN_AFTER) -> None:
        """Log that the user opened the payment, unless this was already logged less than `within` ago."""
        recent = self.filter(payment=payment, user=user.pk, at__gt=timezone.now() - within)
        if not recent.exists():
            self.create(payment=payment, user_id=user.pk)


class RecordView(models.Model):
    """One visit of a member of staff to a payment's page. `manage.py prune` deletes old rows."""

    payment = models.ForeignKey(Payment, models.PROTECT, related_name="views")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+", verbose_name=_("who"))
    at = models.DateTimeField(_("when"), default=timezone.now)

    objects = RecordViewQuerySet.as_manager()

    class Meta:
        ordering = ("-at",)
        verbose_name = _("record view")
        verbose_name_plural = _("record views")
        indexes = (models.Index(fields=("payment", "user", "at"), name="view_payment_user_at"),)

    def __str__(self) -> str:
        return f"{self.user_id} -> {self.payment_id}"
