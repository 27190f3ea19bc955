"""Updates the payment and notifies open pages when dj-stripe saves its copy of a Checkout Session."""

from functools import partial
from typing import Any

from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from django.db import transaction
from django.db.models.signals import post_save
from django.dispatch import receiver
from djstripe.models import Session

from .models import Payment, StatusChange


@receiver(post_save, sender=Session)
def follow_session(sender: type[Session], instance: Session, **kwargs: Any) -> None:
    data = instance.stripe_data
    with transaction.atomic():
        found = Payment.objects.select_for_update().filter(public_id=data["metadata"].get("payment_id"))
        if data["payment_status"] != "paid" or (payment := found.first()) is None or payment.status == "paid":
            return
        StatusChange.objects.create(payment=payment, from_status=payment.status, to_status="paid")
        payment.status, payment.amount_received = "paid", data["amount_total"]
        payment.save()
        transaction.on_commit(partial(notify, payment))


def notify(payment: Payment) -> None:
    shown = {"public_id": str(payment.public_id), "status": payment.status, "amount_due": payment.amount_due}
    message = {"type": "payment.changed", "payment": shown | {"currency": payment.currency}}
    send = async_to_sync(get_channel_layer().group_send)
    for group in ("staff", f"patient.{payment.patient_id}"):
        send(group, message)
