"""The movements of money at Stripe that closings hold, a row each."""

from django.db import models
from django.utils.translation import gettext_lazy as _

from .closing import Closing
from .moved_money import MovedMoney
from .payment import Payment


class OnlineEntry(MovedMoney):
    """One movement of money at Stripe, as a closing holds it.

    The journal's lines are replaced whenever Stripe tells something else, so a closing can't refer to them. The next
    closing takes what the journal says of a payment and these rows don't. If the journal no longer says what a row
    does, the next closing has a row with the opposite amount. `stripe_id` is the id of the object that proved the line.
    """

    closing = models.ForeignKey(Closing, models.PROTECT, related_name="online_entries")
    payment = models.ForeignKey(Payment, models.PROTECT, related_name="+")
    stripe_id = models.CharField(max_length=255)

    class Meta:
        ordering = ("pk",)
        verbose_name = _("movement at Stripe in a closing")
        verbose_name_plural = _("movements at Stripe in closings")
        default_permissions = ()
