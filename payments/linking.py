"""Which payment a Stripe object belongs to, and the facts kept about it, or kept until its payment is known."""

import uuid
from collections.abc import Iterable, Sequence

from django.contrib.auth.models import AbstractUser
from django.db import connection

from .db import statements
from .domain.facts import Kind, StripeFact
from .domain.precedence import merge
from .models import EventReceipt, Fact, Payment
from .models.fact import COLUMNS

Outcome = EventReceipt.Outcome

# Disputes, and refunds made at Stripe, carry no metadata of ours, so an unknown one may still turn out to be ours.
MAY_BE_OURS = (Kind.REFUND, Kind.DISPUTE)


def payment_of(facts: Sequence[StripeFact]) -> tuple[Payment | None, list[Fact]]:
    """By the id in the metadata, else by what earlier facts say of the same Stripe objects; locked.

    With its facts, and those that were waiting for it or for these.
    """
    if named := next((fact.payment_id for fact in facts if fact.payment_id), ""):
        _take_turns(facts)
        locked = Payment.objects.lock_named(uuid.UUID(named))
        known = Fact.objects.belonging_to(uuid.UUID(named), facts)
        if payment := locked():
            return payment, known()
    linked = _linked(facts)
    if linked is None and not named:
        _take_turns(facts)
        linked = _linked(facts)  # somebody may have linked it while we waited
    if linked is None:
        return None, []
    payment = Payment.objects.locked().get(pk=linked)
    return payment, Fact.objects.belonging_to(payment.public_id, facts)()


def _linked(facts: Sequence[StripeFact]) -> int | None:
    return Fact.objects.about(facts).exclude(payment=None).values_list("payment_id", flat=True).first()


def _take_turns(facts: Sequence[StripeFact]) -> None:
    """Make transactions that meet at one PaymentIntent wait for each other, while no payment has it yet.

    Else a refund that finds no payment and the charge that would link it could miss each other. Always before the
    payment's own lock: the other way round in one of them is a deadlock.
    SQLite needs none of it: its write transactions take turns anyway.
    """
    if connection.vendor != "postgresql":
        return
    for link in sorted({fact.link for fact in facts} - {""}):
        statements.tell("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [link])


def keep_waiting(facts: Sequence[StripeFact], actor: AbstractUser | None) -> EventReceipt.Outcome:
    """Keep facts for a payment to come, unless they can't be ours."""
    if not any(fact.payment_id or fact.kind in MAY_BE_OURS for fact in facts):
        return Outcome.IGNORED_FOREIGN
    known = {row.stripe_id: row for row in Fact.objects.waiting().about(facts)}
    for fact in facts:
        _write(known, fact, None, actor)
    return Outcome.DEFERRED


def absorb(
    facts: Sequence[StripeFact], payment: Payment, kept: Iterable[Fact], actor: AbstractUser | None = None
) -> list[Fact]:
    """All of the payment's facts after merging these into those that were kept; some may have waited for it."""
    known = {row.stripe_id: row for row in kept}
    for row in known.values():
        if row.payment_id is None:
            row.payment = payment
            statements.update(row, ["payment"])
            EventReceipt.objects.deferred_for(row.stripe_id).settle(Outcome.APPLIED, payment)
    for fact in facts:
        _write(known, fact, payment, actor)
    return list(known.values())


def _write(known: dict[str, Fact], fact: StripeFact, payment: Payment | None, actor: AbstractUser | None) -> None:
    row = known.get(fact.stripe_id)
    if row is None:
        row = known[fact.stripe_id] = Fact(payment=payment, actor=actor)  # type: ignore[misc]
        row.value = fact
        statements.insert(row)
    elif (merged := merge(row.value, fact)) != row.value:
        row.value = merged
        statements.update(row, COLUMNS)
