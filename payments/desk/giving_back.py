"""The function through which all refunds by staff go: it checks limits and approval, then gives the money back."""

from collections.abc import Sequence

from django.contrib.auth.models import AbstractUser
from django.db import transaction

from ..domain.facts import StripeFact
from ..models import Payment
from . import refund_approvals, refund_orders
from .refund_limits import needs_approval, require_within_limit
from .refund_orders import Order


def give_back(payment: Payment, order: Order, actor: AbstractUser, *, key: str) -> bool:
    """Give `order.amount` minor units back; return False if the refund waits for another person's approval.

    A second call with this `key`, as from a form that was sent twice, does nothing. Raises OverLimitError if the actor
    may not refund so much, NotRefundableError if less is left or Stripe refuses, and StripeUnavailableError if Stripe
    doesn't answer; the refund then stays pending, and `manage.py sweep` goes on with it.
    """
    requests: Sequence[StripeFact] = []
    with transaction.atomic():
        row = Payment.objects.locked().get(pk=payment.pk)
        if refund_orders.was_recorded(row, key):
            return not refund_approvals.is_waiting(row, key)
        refund_orders.require_available(row, order)
        require_within_limit(actor, row, order.amount)
        if needs_approval(row, order.amount):
            refund_approvals.request(row, order, actor, key)
            return False
        requests = refund_orders.reserve(row, order, actor, key)
    refund_orders.send(payment, requests, actor)
    return True
