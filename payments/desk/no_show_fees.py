"""Charging a no-show fee, or a cancellation fee, to the card that Stripe keeps for the patient."""

from django.contrib.auth.models import AbstractUser
from django.db import transaction

from ..domain.facts import Kind
from ..gateway import fees
from ..gateway.checkout import expire_open
from ..gateway.kept_cards import kept_card
from ..models import Payment


class NotChargeableError(Exception):
    """Raised when this amount may not be charged to the card any more, as when the patient has just paid."""


def charge_fee(payment: Payment, amount: int, actor: AbstractUser, *, key: str) -> None:
    """Charge `amount` minor units to the kept card. Does nothing if `key` was used before.

    Payment pages that the patient has open are closed first, so that the patient can't pay the fee as well. Raises
    NotChargeableError unless `amount` is exactly what may be charged now, DeclinedError if the card isn't charged, and
    StripeUnavailableError; if the request was sent then, `manage.py sweep` finds out how it ended.
    """
    if fees.was_requested(payment, key):
        return
    expire_open(payment)
    with transaction.atomic():
        row = Payment.objects.locked().get(pk=payment.pk)
        if fees.was_requested(row, key):
            return
        paying = row.facts.filter(kind=Kind.SESSION, status="open").exists()
        if paying or not 0 < amount == row.fee_to_charge:
            raise NotChargeableError
        request = fees.reserve(row, kept_card(row), amount, actor, key)
    fees.send(payment, request, actor)
