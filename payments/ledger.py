"""The one door to a payment's state: facts in, status change and feed entries out, in one transaction."""

import datetime
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial

from django.contrib.auth.models import User
from django.db import connection, transaction
from django.db.models import Q

from appointments.models import Appointment

from .facts import Kind, StripeFact, merge
from .models import EventReceipt, Fact, Feed, FeedEntry, Payment, StatusChange, patient_audience
from .models.feed import STAFF
from .signals import payment_confirmed, payment_status_changed
from .status import PaymentStatus, Standing, derive

logger = logging.getLogger(__name__)
Outcome = EventReceipt.Outcome
Source = StatusChange.Source

# Refunds and disputes carry no metadata of ours, so an unknown one may still turn out to belong to us.
MAY_BE_OURS = (Kind.REFUND, Kind.DISPUTE)


@dataclass(frozen=True, slots=True)
class Cause:
    """Why the ledger is asked to look: for the audit log and the timeline."""

    source: StatusChange.Source
    stripe_event_id: str = ""
    actor: User | None = None
    occurred_at: datetime.datetime | None = None


@dataclass(frozen=True, slots=True)
class Recorded:
    outcome: EventReceipt.Outcome
    payment: Payment | None = None
    change: StatusChange | None = None


def record(facts: Sequence[StripeFact], cause: Cause) -> Recorded:
    """Merge facts about one payment into it, and move its status if they change where it stands.

    Facts whose payment isn't known yet wait for it when they may be ours, else the outcome is IGNORED_FOREIGN.
    """
    with transaction.atomic():
        _lock_links(facts)
        payment = _locked_payment_of(facts)
        if payment is None:
            return Recorded(_keep_waiting(facts, cause))
        rows = _absorb(facts, payment, cause)
        change = _settle(payment, rows, replace(cause, actor=cause.actor or _requester(facts, rows)))
        return Recorded(Outcome.APPLIED if change else Outcome.NO_CHANGE, payment, change)


def follow_appointment(appointment: Appointment, actor: User | None = None) -> Payment:
    """Bill an appointment: make its payment if there is none, and follow its price and cancellation."""
    with transaction.atomic():
        due = {"amount_due": appointment.price_amount, "currency": appointment.currency}
        found, created = Payment.objects.get_or_create(appointment=appointment, defaults=due)
        payment = _locked(Q(pk=found.pk)) or found
        if payment.amount_due != appointment.price_amount and payment.currency == appointment.currency:
            payment.earlier_amounts = [*payment.earlier_amounts, payment.amount_due]
        payment.amount_due, payment.currency = appointment.price_amount, appointment.currency
        payment.save(update_fields=["amount_due", "currency", "earlier_amounts", "updated_at"])
        cause = Cause(Source.APPOINTMENT, actor=actor)
        rows = _absorb([], payment, cause) if created else list(payment.facts.all())
        _settle(payment, rows, cause)
        return payment


def _locked(condition: Q) -> Payment | None:
    return Payment.objects.locked().filter(condition).first()


def _locked_payment_of(facts: Sequence[StripeFact]) -> Payment | None:
    """By the id in the metadata, else by what earlier facts say of the same Stripe objects."""
    named = next((fact.payment_id for fact in facts if fact.payment_id), "")
    if named and (payment := _locked(Q(public_id=named))):
        return payment
    known = Fact.objects.about(facts).exclude(payment=None).values_list("payment_id", flat=True).first()
    return _locked(Q(pk=known)) if known else None


def _lock_links(facts: Sequence[StripeFact]) -> None:
    """Make transactions that meet at one PaymentIntent take turns until commit, while no payment has it yet.

    Else a refund that finds no payment and the charge that would link it could miss each other. Always before the
    payment's own lock: the other way round in one of them is a deadlock.
    SQLite needs none of it: its write transactions take turns anyway.
    """
    links = {fact.link for fact in facts} - {""}
    if connection.vendor != "postgresql" or not links:
        return
    linked = {row.value.link for row in Fact.objects.about(facts).exclude(payment=None)}
    with connection.cursor() as cursor:
        for link in sorted(links - linked):
            cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [link])


def _keep_waiting(facts: Sequence[StripeFact], cause: Cause) -> EventReceipt.Outcome:
    if not any(fact.payment_id or fact.kind in MAY_BE_OURS for fact in facts):
        return Outcome.IGNORED_FOREIGN
    known = {row.stripe_id: row for row in Fact.objects.waiting().about(facts)}
    for fact in facts:
        _write(known, fact, None, cause)
    return Outcome.DEFERRED


def _absorb(facts: Sequence[StripeFact], payment: Payment, cause: Cause) -> list[Fact]:
    """All of the payment's facts after merging these, and those that were waiting for them."""
    known = {row.stripe_id: row for row in payment.facts.all()}
    linked = {link for row in known.values() for link in (row.payment_intent_id, row.charge_id)}
    if not known or any({fact.payment_intent_id, fact.charge_id} - linked for fact in facts):
        claimed = Q(claimed_payment=payment.public_id)
        for row in Fact.objects.waiting().filter(claimed) | Fact.objects.waiting().about(facts):
            known[row.stripe_id] = row
            row.payment = payment
            row.save(update_fields=["payment"])
            EventReceipt.objects.deferred_for(row.stripe_id).settle(Outcome.APPLIED, payment)
    for fact in facts:
        _write(known, fact, payment, cause)
    return list(known.values())


def _write(known: dict[str, Fact], fact: StripeFact, payment: Payment | None, cause: Cause) -> None:
    row = known.get(fact.stripe_id)
    if row is None:
        row = known[fact.stripe_id] = Fact(payment=payment, actor=cause.actor)
        row.value = fact
        row.save(force_insert=True)
    elif (merged := merge(row.value, fact)) != row.value:
        row.value = merged
        row.save()


def _requester(facts: Sequence[StripeFact], rows: Sequence[Fact]) -> User | None:
    """Who asked for the refund that Stripe now makes; that it failed is nobody's doing."""
    requests = {fact.details.get("request") for fact in facts if fact.status not in ("failed", "canceled")}
    return next((row.actor for row in rows if row.stripe_id in requests), None)


def _settle(payment: Payment, rows: Sequence[Fact], cause: Cause) -> StatusChange | None:
    standing = derive([row.value for row in rows], payment.terms)
    if replace(standing, method=payment.method) == payment.standing:
        if standing.method != payment.method:  # worth knowing, not worth telling
            payment.method = standing.method
            payment.save(update_fields=["method", "updated_at"])
        return None
    before = PaymentStatus(payment.status)
    _take(payment, standing)
    change = StatusChange.objects.create(
        payment=payment,
        version=payment.version,
        from_status=before,
        to_status=standing.status,
        standing=asdict(standing),
        source=cause.source,
        stripe_event_id=cause.stripe_event_id,
        actor=cause.actor,
        occurred_at=cause.occurred_at,
    )
    entries = Feed.objects.append(change, [STAFF, patient_audience(payment.appointment.patient_id)])
    transaction.on_commit(partial(_announce, payment, change, entries), robust=True)
    return change


def _take(payment: Payment, standing: Standing) -> None:
    payment.status = standing.status
    payment.amount_received, payment.amount_refunded = standing.received, standing.refunded
    payment.amount_refund_pending, payment.amount_lost = standing.refund_pending, standing.lost
    payment.amount_overpaid, payment.attempt = standing.overpaid, standing.attempt
    payment.failure_code, payment.method = standing.failure_code, standing.method
    payment.dispute_due_by, payment.reviews = standing.dispute_due_by, list(standing.reviews)
    payment.version += 1
    payment.save()


def _announce(payment: Payment, change: StatusChange, entries: list[FeedEntry]) -> None:
    fields = {"payment_id": str(payment.public_id), "status": change.to_status, "source": change.source}
    logger.info("payment_status_changed", extra=fields | {"stripe_event_id": change.stripe_event_id})
    told = {"payment": payment, "change": change, "entries": entries}
    payment_status_changed.send_robust(Payment, **told)
    if change.moved and change.to_status == PaymentStatus.PAID:
        payment_confirmed.send_robust(Payment, **told)
