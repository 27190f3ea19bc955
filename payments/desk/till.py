"""Money at the front desk, without Stripe: taking it, and undoing an entry that was a mistake."""

import datetime

from django.contrib.auth.models import AbstractUser
from django.db import transaction
from django.utils import timezone

from .. import ledger
from ..domain.attempts import attempts_of, desk_refundable
from ..domain.facts import Kind
from ..domain.methods import Method
from ..gateway.checkout import NotPayableError, expire_superfluous
from ..ledger import Cause, Source
from ..models import Fact, Payment


class NotReversibleError(Exception):
    """Raised when an entry may not be reversed: it is of another day, of a colleague, or partly given back."""


def take_payment(
    payment: Payment, amount: int, method: Method, actor: AbstractUser, *, key: str, note: str = "", deposited: str = ""
) -> None:
    """Record that `amount` minor units were paid at the desk.

    `note` is for colleagues, such as a cheque's number; `deposited` is the ISO date on which a cheque goes to the bank.
    Then expire the payment's Checkout Sessions that are no longer needed, so that the patient can't pay twice. A second
    call with the same `key`, as when a form is sent twice, records nothing. Raises NotPayableError when `amount` isn't
    positive or is more than what is owed, or when the currency isn't `payment.currency` any more.
    """
    with transaction.atomic():
        row = Payment.objects.locked().get(pk=payment.pk)
        if was_taken(row, key):
            return
        if row.currency != payment.currency or not 0 < amount <= row.amount_owed:
            raise NotPayableError
        details = {name: text for name, text in (("note", note), ("deposited", deposited)) if text}
        taken = row.own_fact(Kind.OFFLINE, f"offline_{key}", method, amount, **details)
        ledger.record([taken], Cause(Source.DESK, actor=actor))
    expire_superfluous([payment])


def was_taken(payment: Payment, key: str) -> bool:
    """Return whether `take_payment` has recorded a payment with this key."""
    return payment.facts.filter(stripe_id=f"offline_{key}").exists()


def entries_of(payment: Payment) -> list[Fact]:
    """Return the payment's entries at the desk that haven't been reversed, oldest first."""
    rows = list(payment.facts.all())
    reversed_ids = {row.details["entry"] for row in rows if row.kind == Kind.REVERSAL}
    return [row for row in rows if row.kind in (Kind.OFFLINE, Kind.DESK_REFUND) and row.stripe_id not in reversed_ids]


def may_reverse(entry: Fact, actor: AbstractUser) -> bool:
    """Return whether `actor` may declare the entry a mistake.

    It must be of today, in the clinic's time zone. People may reverse their own entries; those of a colleague need the
    right to refund any amount.
    """
    made = timezone.localdate(datetime.datetime.fromtimestamp(entry.created, datetime.UTC))
    own = entry.actor_id == actor.pk and actor.is_staff
    return made == timezone.localdate() and (own or actor.has_perm("clinic_payments.refund_any_amount"))


def reverse(payment: Payment, entry_id: str, reason: str, actor: AbstractUser) -> None:
    """Record that an entry at the desk was a mistake, so that it no longer counts. Reversing it twice changes nothing.

    `entry_id` is the entry's fact id. Raises NotReversibleError if there is no such entry, if `actor` may not reverse
    it, or if the money has been given back since, which has to be reversed first.
    """
    with transaction.atomic():
        row = Payment.objects.locked().get(pk=payment.pk)
        if row.facts.filter(kind=Kind.REVERSAL, stripe_id=f"reversal_{entry_id}").exists():
            return
        entry = next((each for each in entries_of(row) if each.stripe_id == entry_id), None)
        if entry is None or not may_reverse(entry, actor):
            raise NotReversibleError
        left = desk_refundable(attempts_of(fact.value for fact in row.facts.all()))
        if entry.kind == Kind.OFFLINE and entry.amount > left:
            raise NotReversibleError
        undone = row.own_fact(
            Kind.REVERSAL, f"reversal_{entry_id}", "reversed", entry.amount, entry=entry_id, reason=reason
        )
        ledger.record([undone], Cause(Source.DESK, actor=actor))
    expire_superfluous([payment])
