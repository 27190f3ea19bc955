"""The one door to a payment's state: facts in, status change and feed entries out, in one transaction."""

import datetime
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial

from django.contrib.auth.models import AbstractUser
from django.db import transaction

from appointments.models import Appointment

from . import linking
from .db.statements import insert, update
from .domain.facts import StripeFact
from .domain.status import PaymentStatus, Standing, derive
from .models import EventReceipt, Fact, Feed, FeedEntry, Payment, StatusChange, patient_audience
from .models.feed import STAFF
from .signals import payment_confirmed, payment_status_changed

logger = logging.getLogger(__name__)
Outcome = EventReceipt.Outcome
Source = StatusChange.Source

MOVED = ("status", "amount_received", "amount_refunded", "amount_refund_pending", "amount_lost", "amount_overpaid",
         "attempt", "failure_code", "method", "dispute_due_by", "reviews", "version", "updated_at")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Cause:
    """Why the ledger is asked to look: for the audit log and the timeline."""

    source: StatusChange.Source
    stripe_event_id: str = ""
    actor: AbstractUser | None = None
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
    with transaction.atomic(savepoint=False):
        payment, kept = linking.payment_of(facts)
        if payment is None:
            return Recorded(linking.keep_waiting(facts, cause.actor))
        rows = linking.absorb(facts, payment, kept, cause.actor)
        change = _settle(payment, rows, replace(cause, actor=cause.actor or _requester(facts, rows)))
        return Recorded(Outcome.APPLIED if change else Outcome.NO_CHANGE, payment, change)


def follow_appointment(appointment: Appointment, actor: AbstractUser | None = None) -> Payment:
    """Bill an appointment: make its payment if there is none, and tell what is new about price, time or attendance."""
    with transaction.atomic():
        due = {"amount_due": appointment.price_amount, "currency": appointment.currency}
        found, _ = Payment.objects.get_or_create(appointment=appointment, defaults=due)
        payment = Payment.objects.locked().get(pk=found.pk)
        if payment.amount_due != appointment.price_amount and payment.currency == appointment.currency:
            payment.earlier_amounts = [*payment.earlier_amounts, payment.amount_due]
        payment.amount_due, payment.currency = appointment.price_amount, appointment.currency
        now = _booking(appointment)
        news = {name: value for name, value in now.items() if payment.booking.get(name) != value}
        payment.booking = now
        update(payment, ["amount_due", "currency", "earlier_amounts", "booking", "updated_at"])
        cause = Cause(Source.APPOINTMENT, actor=actor)
        rows = linking.absorb([], payment, Fact.objects.belonging_to(payment.public_id, [])())
        _settle(payment, rows, cause, news)
        return payment


def _booking(appointment: Appointment) -> dict[str, object]:
    """What screens show of an appointment beside its payment; the price in minor units and their currency."""
    return {
        "start": appointment.start.astimezone(datetime.UTC).isoformat(),
        "practitioner": appointment.practitioner_id,
        "attendance": appointment.status,
        "price": [appointment.price_amount, appointment.currency],
    }


def _requester(facts: Sequence[StripeFact], rows: Sequence[Fact]) -> AbstractUser | None:
    """Who asked for the refund that Stripe now makes; that it failed is nobody's doing."""
    requests = {fact.details.get("request") for fact in facts if fact.status not in ("failed", "canceled")}
    return next((row.actor for row in rows if row.stripe_id in requests), None)


def _settle(
    payment: Payment, rows: Sequence[Fact], cause: Cause, booking: Mapping[str, object] | None = None
) -> StatusChange | None:
    standing = derive([row.value for row in rows], payment.terms)
    if not booking and replace(standing, method=payment.method) == payment.standing:
        if standing.method != payment.method:  # worth knowing, not worth telling
            payment.method = standing.method
            update(payment, ["method", "updated_at"])
        return None
    before = PaymentStatus(payment.status)
    _take(payment, standing)
    change = StatusChange(
        payment=payment,
        version=payment.version,
        from_status=before,
        to_status=standing.status,
        standing=asdict(standing),
        booking=dict(booking or {}),
        source=cause.source,
        stripe_event_id=cause.stripe_event_id,
        actor=cause.actor,  # type: ignore[misc]
        occurred_at=cause.occurred_at,
    )
    insert(change)
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
    update(payment, MOVED)


def _announce(payment: Payment, change: StatusChange, entries: list[FeedEntry]) -> None:
    told = {"payment": payment, "change": change, "entries": entries}
    payment_status_changed.send_robust(Payment, **told)
    if change.moved and change.to_status == PaymentStatus.PAID:
        payment_confirmed.send_robust(Payment, **told)
    fields = {"payment_id": str(payment.public_id), "status": change.to_status, "source": change.source}
    logger.info("payment_status_changed", extra=fields | {"stripe_event_id": change.stripe_event_id})
