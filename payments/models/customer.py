"""Customers at Stripe: whom Stripe keeps cards for."""

from django.conf import settings
from django.db import models


class Customer(models.Model):
    """The customer at Stripe for one patient and currency. Stripe is told nothing about the patient."""

    patient = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    currency = models.CharField(max_length=3)
    stripe_customer_id = models.CharField(max_length=255, unique=True)

    class Meta:
        constraints = (models.UniqueConstraint(fields=("patient", "currency"), name="one_customer_per_currency"),)

    def __str__(self) -> str:
        return self.stripe_customer_id
