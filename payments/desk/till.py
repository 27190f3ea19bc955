"""Payments taken at the front desk, without Stripe."""

from django.contrib.auth.models import AbstractUser
from django.db import transaction

from .. import ledger
from ..domain.facts import Kind
from ..domain.methods import Method
from ..gateway.checkout import NotPayableError, expire_superfluous
from ..ledger import Cause, Source
from ..models import Payment


def take_payment(payment: Payment, amount: int, method: Method, actor: AbstractUser, *, key: str) -> None:
    """Record that `amount` minor units were paid at the desk.

    Then expire the payment's Checkout Sessions that are no longer needed, so that the patient can't pay twice. A second
    call with the same `key`, as when a form is sent twice, records nothing. Raises NotPayableError when `amount` isn't
    positive or is more than what is owed.
    """
    with transaction.atomic():
        row = Payment.objects.locked().get(pk=payment.pk)
        if was_taken(row, key):
            return
        if not 0 < amount <= row.amount_owed:
            raise NotPayableError
        taken = row.own_fact(Kind.OFFLINE, f"offline_{key}", method, amount)
        ledger.record([taken], Cause(Source.DESK, actor=actor))
    expire_superfluous(payment)


def was_taken(payment: Payment, key: str) -> bool:
    """Return whether `take_payment` has recorded a payment with this key."""
    return payment.facts.filter(stripe_id=f"offline_{key}").exists()
