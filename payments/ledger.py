"""The only place that changes a payment's status: facts, status change and feed entries commit together."""

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
    """Why a payment may change; the audit log and the timeline show it."""

    source: StatusChange.Source
    stripe_event_id: str = ""
    actor: AbstractUser | None = None
    occurred_at: datetime.datetime | None = None


@dataclass(frozen=True, slots=True)
class Recorded:
    """What recording facts led to. Without `change`, the payment stands where it stood."""

    outcome: EventReceipt.Outcome
    payment: Payment | None = None
    change: StatusChange | None = None


def record(facts: Sequence[StripeFact], cause: Cause) -> Recorded:
    """Merge facts about one payment into it, and change its status if they say so.

    Facts whose payment isn't known yet are kept until it is, with the outcome DEFERRED, or dropped with the outcome
    IGNORED_FOREIGN if they can't be about one of ours.
    """
    with transaction.atomic(savepoint=False):
        payment, kept = linking.find_payment(facts)
        if payment is None:
            return Recorded(linking.keep_waiting(facts, cause.actor))
        merged = linking.absorb(facts, payment, kept, cause.actor)
        change = _update(payment, merged, replace(cause, actor=cause.actor or _requester(facts, merged)))
        return Recorded(Outcome.APPLIED if change else Outcome.NO_CHANGE, payment, change)


def follow_appointment(appointment: Appointment, actor: AbstractUser | None = None) -> Payment:
    """Create the appointment's payment if it has none, and record a changed price, time, practitioner or attendance."""
    with transaction.atomic():
        due = {"amount_due": appointment.price_amount, "currency": appointment.currency}
        found, _ = Payment.objects.get_or_create(appointment=appointment, defaults=due)
        payment = Payment.objects.locked().get(pk=found.pk)
        if payment.amount_due != appointment.price_amount and payment.currency == appointment.currency:
            payment.earlier_amounts = [*payment.earlier_amounts, payment.amount_due]
        payment.amount_due, payment.currency = appointment.price_amount, appointment.currency
        booking = _booking(appointment)
        changed = {name: value for name, value in booking.items() if payment.booking.get(name) != value}
        payment.booking = booking
        update(payment, ["amount_due", "currency", "earlier_amounts", "booking", "updated_at"])
        facts = linking.absorb([], payment, Fact.objects.belonging_to(payment.public_id, [])())
        _update(payment, facts, Cause(Source.APPOINTMENT, actor=actor), changed)
        return payment


def _booking(appointment: Appointment) -> dict[str, object]:
    """Return what pages show of an appointment; the price as minor units and currency."""
    return {
        "start": appointment.start.astimezone(datetime.UTC).isoformat(),
        "practitioner": appointment.practitioner_id,
        "attendance": appointment.status,
        "price": [appointment.price_amount, appointment.currency],
    }


def _requester(facts: Sequence[StripeFact], rows: Sequence[Fact]) -> AbstractUser | None:
    """Return who requested the refund that Stripe reports in `facts`, unless it failed, which nobody requested."""
    requests = {fact.details.get("request") for fact in facts if fact.status not in ("failed", "canceled")}
    return next((row.actor for row in rows if row.stripe_id in requests), None)


def _update(
    payment: Payment, facts: Sequence[Fact], cause: Cause, booking: Mapping[str, object] | None = None
) -> StatusChange | None:
    """Derive the payment's standing from all of its facts, and store and return the change, if there is one.

    `booking` is what changed about the appointment; it makes a change even when the standing stays.
    """
    standing = derive([fact.value for fact in facts], payment.terms)
    if not booking and replace(standing, method=payment.method) == payment.standing:
        if standing.method != payment.method:  # worth storing, but no reason for an entry and a toast
            payment.method = standing.method
            update(payment, ["method", "updated_at"])
        return None
    before = PaymentStatus(payment.status)
    _assign(payment, standing)
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


def _assign(payment: Payment, standing: Standing) -> None:
    payment.status = standing.status
    payment.amount_received, payment.amount_refunded = standing.received, standing.refunded
    payment.amount_refund_pending, payment.amount_lost = standing.refund_pending, standing.lost
    payment.amount_overpaid, payment.attempt = standing.overpaid, standing.attempt
    payment.failure_code, payment.method = standing.failure_code, standing.method
    payment.dispute_due_by, payment.reviews = standing.dispute_due_by, list(standing.reviews)
    payment.version += 1
    update(payment, MOVED)


def _announce(payment: Payment, change: StatusChange, entries: list[FeedEntry]) -> None:
    """Send the signals and write the log line, after the commit."""
    arguments = {"payment": payment, "change": change, "entries": entries}
    payment_status_changed.send_robust(Payment, **arguments)
    if change.moved and change.to_status == PaymentStatus.PAID:
        payment_confirmed.send_robust(Payment, **arguments)
    fields = {"payment_id": str(payment.public_id), "status": change.to_status, "source": change.source}
    logger.info("payment_status_changed", extra=fields | {"stripe_event_id": change.stripe_event_id})
