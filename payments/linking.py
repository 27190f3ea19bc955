"""Finds the payment that a Stripe object belongs to, and keeps facts, also those whose payment isn't known yet."""

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
Found = tuple[Payment, list[Fact]]

# Disputes, and refunds made at Stripe, carry no metadata of ours, so an unknown one may still turn out to be ours.
MAY_BE_OURS = (Kind.REFUND, Kind.DISPUTE)


def find_payment(facts: Sequence[StripeFact]) -> Found | tuple[None, list[Fact]]:
    """Lock the payment that these facts are about, and return it with the facts that belong to it already.

    Among them are facts that had no payment yet. Returns None and no facts if the payment isn't known.
    """
    return _find_named(facts) or _find_linked(facts) or (None, [])


def _find_named(facts: Sequence[StripeFact]) -> Found | None:
    """Find the payment whose public id Stripe's metadata holds."""
    named = next((fact.payment_id for fact in facts if fact.payment_id), "")
    if not named:
        return None
    _lock_links(facts)
    load_payment = Payment.objects.lock_named(uuid.UUID(named))
    load_facts = Fact.objects.belonging_to(uuid.UUID(named), facts)
    payment = load_payment()
    return (payment, load_facts()) if payment else None


def _find_linked(facts: Sequence[StripeFact]) -> Found | None:
    """Find the payment that has earlier facts about these Stripe objects, PaymentIntents or charges."""
    key = _linked_key(facts)
    if key is None:
        _lock_links(facts)
        key = _linked_key(facts)  # another transaction may have linked them while this one waited for its lock
    if key is None:
        return None
    payment = Payment.objects.locked().get(pk=key)
    return payment, Fact.objects.belonging_to(payment.public_id, facts)()


def _linked_key(facts: Sequence[StripeFact]) -> int | None:
    return Fact.objects.about(facts).exclude(payment=None).values_list("payment_id", flat=True).first()


def _lock_links(facts: Sequence[StripeFact]) -> None:
    """Make transactions about one PaymentIntent wait for each other while no payment has it yet.

    Otherwise a refund that finds no payment and the charge that would link it could miss each other. Call it before
    locking the payment: the other order in one transaction would be a deadlock. On SQLite there is nothing to do,
    because one transaction writes at a time.
    """
    if connection.vendor != "postgresql":
        return
    for link in sorted({fact.link for fact in facts} - {""}):
        statements.tell("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [link])


def keep_waiting(facts: Sequence[StripeFact], actor: AbstractUser | None) -> EventReceipt.Outcome:
    """Store facts without a payment until it is known, unless they can't be about one of ours."""
    if not any(fact.payment_id or fact.kind in MAY_BE_OURS for fact in facts):
        return Outcome.IGNORED_FOREIGN
    kept = {row.stripe_id: row for row in Fact.objects.waiting().about(facts)}
    for fact in facts:
        _write(kept, fact, None, actor)
    return Outcome.DEFERRED


def absorb(
    facts: Sequence[StripeFact], payment: Payment, kept: Iterable[Fact], actor: AbstractUser | None = None
) -> list[Fact]:
    """Merge new facts into those `kept`, give the payment those that had none, and return all of its facts."""
    by_id = {row.stripe_id: row for row in kept}
    for row in by_id.values():
        if row.payment_id is None:
            row.payment = payment
            statements.update(row, ["payment"])
            EventReceipt.objects.deferred_for(row.stripe_id).settle(Outcome.APPLIED, payment)
    for fact in facts:
        _write(by_id, fact, payment, actor)
    return list(by_id.values())


def _write(kept: dict[str, Fact], fact: StripeFact, payment: Payment | None, actor: AbstractUser | None) -> None:
    """Insert a fact about an object that isn't among those kept (by Stripe id), or merge it into the one that is."""
    row = kept.get(fact.stripe_id)
    if row is None:
        row = kept[fact.stripe_id] = Fact(payment=payment, actor=actor)  # type: ignore[misc]
        row.value = fact
        statements.insert(row)
    elif (merged := merge(row.value, fact)) != row.value:
        row.value = merged
        statements.update(row, COLUMNS)
