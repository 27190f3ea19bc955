"""Notes that staff write about a payment for each other."""

import uuid

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _

from .payment import Payment


class Note(models.Model):
    """A note of staff about a payment. It is never shown to patients, sent to Stripe or logged.

    Notes are never deleted. Only erasing the patient's data changes a note: it blanks the text.
    """

    payment = models.ForeignKey(Payment, models.PROTECT, related_name="notes")
    author = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    text = models.CharField(_("note"), max_length=1000)
    # Made when the form is shown, so that a form sent twice stores one note.
    key = models.UUIDField(unique=True, default=uuid.uuid4, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("created_at", "pk")
        verbose_name = _("note")
        verbose_name_plural = _("notes")

    def __str__(self) -> str:
        return f"{self.payment_id} #{self.pk}"
