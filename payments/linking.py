"""Stores facts (states of Stripe objects), and finds the payment to which facts belong, if this payment is known."""

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

# Disputes, and refunds made in Stripe's Dashboard, lack our metadata. Until one is linked to a payment, it may be
# about one of ours.
MAY_BE_OURS = (Kind.REFUND, Kind.DISPUTE)


def find_payment(facts: Sequence[StripeFact]) -> Found | tuple[None, list[Fact]]:
    """Lock the payment that `facts` are about; return it and its stored facts, or (None, []) if it isn't known.

    Facts are states of Stripe objects. Stored facts that have no payment yet but belong to this payment are included.
    """
    return _find_named(facts) or _find_linked(facts) or (None, [])


def _find_named(facts: Sequence[StripeFact]) -> Found | None:
    """Lock the payment whose public id is in the metadata of `facts` (states of Stripe objects).

    Return the payment and its stored facts, or None if there is no such payment.
    """
    named = next((fact.payment_id for fact in facts if fact.payment_id), "")
    if not named:
        return None
    _lock_links(facts)
    load_payment = Payment.objects.lock_named(uuid.UUID(named))
    load_facts = Fact.objects.belonging_to(uuid.UUID(named), facts)
    payment = load_payment()
    return (payment, load_facts()) if payment else None


def _find_linked(facts: Sequence[StripeFact]) -> Found | None:
    """Lock the payment that has a stored fact about a Stripe object, PaymentIntent or charge that occurs in `facts`.

    A fact is the state of one Stripe object. Return the payment and its stored facts, or None if no payment has such a
    stored fact.
    """
    key = _linked_key(facts)
    if key is None:
        _lock_links(facts)
        key = _linked_key(facts)  # while this transaction waited, another may have linked the facts' objects
    if key is None:
        return None
    payment = Payment.objects.locked().get(pk=key)
    return payment, Fact.objects.belonging_to(payment.public_id, facts)()


def _linked_key(facts: Sequence[StripeFact]) -> int | None:
    return Fact.objects.about(facts).exclude(payment=None).values_list("payment_id", flat=True).first()


def _lock_links(facts: Sequence[StripeFact]) -> None:
    """Lock the PaymentIntents (or else charges) of `facts`, so that other transactions about one of them wait.

    Without this lock, two transactions that run at once, one with a refund and one with the refund's charge, could each
    miss the other's facts (states of Stripe objects), and the refund would stay without a payment. Call this before
    locking the payment, so that no two transactions deadlock. On SQLite nothing is done, because only one transaction
    writes at a time.
    """
    if connection.vendor != "postgresql":
        return
    for link in sorted({fact.link for fact in facts} - {""}):
        statements.tell("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [link])


def keep_waiting(facts: Sequence[StripeFact], actor: AbstractUser | None) -> EventReceipt.Outcome:
    """Store facts (states of Stripe objects) whose payment isn't known yet, and return the outcome DEFERRED.

    If the facts can't be about a payment of this site, store nothing and return IGNORED_FOREIGN.
    """
    if not any(fact.payment_id or fact.kind in MAY_BE_OURS for fact in facts):
        return Outcome.IGNORED_FOREIGN
    kept = {row.stripe_id: row for row in Fact.objects.waiting().about(facts)}
    for fact in facts:
        _write(kept, fact, None, actor)
    return Outcome.DEFERRED


def absorb(
    facts: Sequence[StripeFact], payment: Payment, kept: Iterable[Fact], actor: AbstractUser | None = None
) -> list[Fact]:
    """Merge `facts` (states of Stripe objects) into the stored rows `kept`, and return all Fact rows of the payment.

    Rows in `kept` that had no payment get `payment`, and the EventReceipt rows of the events that brought them get the
    outcome APPLIED.
    """
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
    """Merge `fact` (the state of one Stripe object) into the stored Fact row of the same object.

    `kept` maps ids of Stripe objects to Fact rows. If `kept` has no row for the object, insert a row and add it to
    `kept`.
    """
    row = kept.get(fact.stripe_id)
    if row is None:
        row = kept[fact.stripe_id] = Fact(payment=payment, actor=actor)  # type: ignore[misc]
        row.value = fact
        statements.insert(row)
    elif (merged := merge(row.value, fact)) != row.value:
        row.value = merged
        statements.update(row, COLUMNS)
