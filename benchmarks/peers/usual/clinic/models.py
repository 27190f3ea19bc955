import uuid

from django.conf import settings
from django.db import models


class Payment(models.Model):
    public_id = models.UUIDField(unique=True, default=uuid.uuid4)
    patient = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT)
    amount_due = models.PositiveBigIntegerField()
    currency = models.CharField(max_length=3)
    status = models.CharField(max_length=20, default="unpaid")
    amount_received = models.PositiveBigIntegerField(default=0)
    updated_at = models.DateTimeField(auto_now=True)

    def __str__(self) -> str:
        return str(self.public_id)


class StatusChange(models.Model):
    payment = models.ForeignKey(Payment, models.PROTECT)
    from_status = models.CharField(max_length=20)
    to_status = models.CharField(max_length=20)
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"{self.from_status} -> {self.to_status}"
