"""Stripe objects that this site couldn't read."""

from django.db import models
from django.utils.translation import gettext_lazy as _


class QuarantinedObject(models.Model):
    """A Stripe object that the site couldn't read when it asked Stripe, for instance because of a new status.

    The row is deleted as soon as the object can be read. An event that couldn't be read is noted in its EventReceipt
    row.
    """

    stripe_id = models.CharField(max_length=255, unique=True)
    reason = models.CharField(_("reason"), max_length=200)
    found_at = models.DateTimeField(_("found"), auto_now_add=True)

    class Meta:
        ordering = ("found_at",)
        verbose_name = _("quarantined object")
        verbose_name_plural = _("quarantined objects")

    def __str__(self) -> str:
        return f"{self.stripe_id}: {self.reason}"
