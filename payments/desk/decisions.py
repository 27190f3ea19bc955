"""Decisions of staff about missing money and fees: ask the patient again, write it off, or keep it as a fee."""

from django.contrib.auth.models import AbstractUser
from django.db import transaction

from appointments.models import Appointment

from .. import ledger
from ..domain.facts import Kind
from ..domain.status import undecided_disputes
from ..gateway.checkout import expire_superfluous
from ..ledger import Cause, Source
from ..models import Payment
from .refund_limits import OverLimitError, allowed_waiver


class NothingToDecideError(Exception):
    """Raised when the payment has changed, so that the decision is no longer possible."""


def ask_again(payment: Payment, actor: AbstractUser, *, key: str) -> None:
    """Ask the patient to pay again what the clinic gave back on purpose, or what a bank took back after a dispute.

    The patient can then pay online. Raises NothingToDecideError if there is no such money.
    """
    with transaction.atomic():
        row = Payment.objects.locked().get(pk=payment.pk)
        if row.facts.filter(stripe_id=f"asked_{key}").exists():
            return
        disputes = _undecided(row)
        if not disputes and not row.amount_waived:
            raise NothingToDecideError
        asked = row.own_fact(Kind.OBSERVATION, f"asked_{key}", "asked_again", disputes=disputes)
        ledger.record([asked], Cause(Source.DESK, actor=actor))


def write_off(payment: Payment, reason: str, actor: AbstractUser, *, key: str) -> None:
    """Stop asking the patient for everything that is still owed. Does nothing if `key` was used before.

    Raises NothingToDecideError if nothing is owed, and OverLimitError if `actor` may not give up that much.
    """
    with transaction.atomic():
        row = Payment.objects.locked().get(pk=payment.pk)
        if row.facts.filter(stripe_id=f"written_off_{key}").exists():
            return
        if not row.amount_owed:
            raise NothingToDecideError
        if row.amount_owed > (allowed := allowed_waiver(actor, row)):
            raise OverLimitError(allowed)
        details = {"disputes": _undecided(row), "reason": reason}
        given_up = row.own_fact(Kind.OBSERVATION, f"written_off_{key}", "written_off", row.amount_owed, **details)
        ledger.record([given_up], Cause(Source.DESK, actor=actor))
    expire_superfluous([payment])


def keep_as_fee(payment: Payment, actor: AbstractUser) -> None:
    """Make the money that the clinic still has for a canceled appointment the appointment's cancellation fee.

    Raises NothingToDecideError if the appointment isn't canceled or nothing is left.
    """
    with transaction.atomic():
        # The appointment is locked first, as in `Appointment.save`: opposite orders could deadlock.
        appointment = Appointment.objects.select_for_update().get(pk=payment.appointment_id)
        row = Payment.objects.locked().get(pk=payment.pk)
        if not appointment.canceled or row.amounts.net <= 0:
            raise NothingToDecideError
        appointment.fee_amount = row.amounts.net
        appointment.save(update_fields=["fee_amount"], actor=actor)


def _undecided(row: Payment) -> list[str]:
    facts = [fact.value for fact in row.facts.all()]
    return [dispute.stripe_id for dispute in undecided_disputes(facts, row.terms)]
