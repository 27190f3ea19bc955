"""The fields that describe a movement of money, shared by the tables that store movements."""

from django.db import models

from ..domain.movements import MovementKind


class MovedMoney(models.Model):
    """A movement of money.

    `at` is Unix seconds; `amount` is in minor units of `currency`, negative when money leaves the clinic. `method` is a
    desk `Method` or Stripe's payment method type.
    """

    kind = models.CharField(max_length=12, choices=MovementKind)
    amount = models.BigIntegerField()
    currency = models.CharField(max_length=3, blank=True)
    at = models.PositiveBigIntegerField()
    method = models.CharField(max_length=40, blank=True)

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return f"{self.kind} {self.amount} {self.currency}"
