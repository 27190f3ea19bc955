"""Changes the status of payments. No other module does.

A change is committed together with the facts (states of Stripe objects) that caused the change, and with the change's
entries in the feeds, the lists of changes that pages follow.
"""

import datetime
import logging
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial

from django.contrib.auth.models import AbstractUser
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Q
from django.utils.translation import gettext as _

from appointments.models import Appointment, Practitioner

from . import linking
from .db.statements import insert, update
from .domain.attempts import AttemptState, attempts_of
from .domain.facts import Kind, StripeFact
from .domain.status import STILL_OPEN, PaymentStatus, derive
from .models import EventReceipt, Fact, Feed, FeedEntry, Payment, StatusChange, patient_audience
from .models.feed import STAFF
from .models.payment import RESULTS, SUMS
from .signals import payment_confirmed, payment_status_changed

logger = logging.getLogger(__name__)
Outcome = EventReceipt.Outcome
Source = StatusChange.Source

UNDER_WAY = (*STILL_OPEN, AttemptState.PROCESSING)
MOVED = ["status", *(f"amount_{name}" for name in SUMS + RESULTS), "payable", "attempt", "failure_code", "method",
         "dispute_due_by", "reviews", "version", "updated_at"]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Cause:
    """Why a payment changed: the source, Stripe's event, the person and the time.

    The audit log and the payment's timeline show it.
    """

    source: StatusChange.Source
    stripe_event_id: str = ""
    actor: AbstractUser | None = None
    occurred_at: datetime.datetime | None = None


@dataclass(frozen=True, slots=True)
class Recorded:
    """The result of recording facts (states of Stripe objects).

    `payment` is None if the facts' payment isn't known. `change` is None if the payment's status and amounts didn't
    change.
    """

    outcome: EventReceipt.Outcome
    payment: Payment | None = None
    change: StatusChange | None = None


def record(facts: Sequence[StripeFact], cause: Cause) -> Recorded:
    """Merge new facts about one payment into its stored facts, and store the change of status or amounts, if any.

    A fact is the state of one Stripe object. If the payment isn't known yet, the facts are stored without a payment,
    and the result's outcome is DEFERRED. If the facts can't be about a payment of this site, the facts are dropped, and
    the outcome is IGNORED_FOREIGN.
    """
    with transaction.atomic(savepoint=False):
        payment, kept = linking.find_payment(facts)
        if payment is None:
            return Recorded(linking.keep_waiting(facts, cause.actor))
        merged = linking.absorb(facts, payment, kept, cause.actor)
        change = _update(payment, merged, replace(cause, actor=cause.actor or _requester(facts, merged)))
        return Recorded(Outcome.APPLIED if change else Outcome.NO_CHANGE, payment, change)


def follow_appointment(
    appointment: Appointment, actor: AbstractUser | None = None, before: Appointment | None = None
) -> Payment:
    """Create or update the appointment's payment and return it.

    A changed price, time, practitioner or attendance is recorded as a change of the payment, made by `actor`. So is a
    corrected patient or service; `before` is the appointment as it was. Open pages that show these load again, because
    entries don't carry them.
    """
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
        if before and (corrected := _corrected(before, appointment)):
            changed["corrected"] = corrected
            _reload_pages(before.patient_id, appointment.patient_id)
        update(payment, ["amount_due", "currency", "earlier_amounts", "booking", "updated_at"])
        facts = linking.absorb([], payment, Fact.objects.belonging_to(payment.public_id, [])())
        _update(payment, facts, Cause(Source.APPOINTMENT, actor=actor), changed)
        return payment


def _booking(appointment: Appointment) -> dict[str, object]:
    """Return what pages show of an appointment, and what its payment is due for, as JSON.

    The price is a list of minor units and currency; deposit and fee are in the price's minor units.
    """
    return {
        "start": appointment.start.astimezone(datetime.UTC).isoformat(),
        "end": appointment.end.astimezone(datetime.UTC).isoformat(),
        "practitioner": appointment.practitioner_id,
        "attendance": appointment.status,
        "price": [appointment.price_amount, appointment.currency],
        "deposit": appointment.deposit_amount,
        "fee": appointment.fee_amount,
    }


def _corrected(before: Appointment, appointment: Appointment) -> list[str]:
    """Return which of "patient" and "service" differ. Their values are personal, and changes are never erased."""
    differ = {"patient": "patient_id", "service": "service"}
    return [name for name, field in differ.items() if getattr(before, field) != getattr(appointment, field)]


def _reload_pages(old_patient: int, patient: int) -> None:
    """Make open pages of the staff and of both patients load again.

    If the patient has changed, the old patient's entries are deleted, because they show the payment as it is now.
    """
    Feed.objects.begin_epoch([STAFF, patient_audience(old_patient), patient_audience(patient)])
    if old_patient != patient:
        Feed.objects.forget(patient_audience(old_patient))


def _requester(facts: Sequence[StripeFact], rows: Sequence[Fact]) -> AbstractUser | None:
    """Return the user who requested the refund that Stripe reports in `facts`, or None if no user did.

    Return None also if the refund failed or was cancelled, because the requester didn't cause that. Facts are states of
    Stripe objects. `facts` are the newly recorded ones; `rows` are all facts of the payment.
    """
    requests = {fact.details.get("request") for fact in facts if fact.status not in ("failed", "canceled")}
    return next((row.actor for row in rows if row.stripe_id in requests), None)


def _update(
    payment: Payment, facts: Sequence[Fact], cause: Cause, booking: Mapping[str, object] | None = None
) -> StatusChange | None:
    """Compute the payment's status and amounts from `facts`; store and return the change, if any.

    `facts` are all stored facts (states of Stripe objects) of the payment. `booking` holds the appointment's changed
    fields; if there are any such fields, a change is stored even if status and amounts stay the same.
    """
    standing = derive([fact.value for fact in facts], payment.terms)
    if not booking and replace(standing, method=payment.method) == payment.standing:
        if standing.method != payment.method:  # is stored, but pages need no entry for it
            payment.method = standing.method
            update(payment, ["method", "updated_at"])
        return None
    before = PaymentStatus(payment.status)
    payment.standing = standing
    payment.version += 1
    update(payment, MOVED)
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


def _announce(payment: Payment, change: StatusChange, entries: list[FeedEntry]) -> None:
    """Send the signals and write the log line of a change that has been committed."""
    arguments = {"payment": payment, "change": change, "entries": entries}
    payment_status_changed.send_robust(Payment, **arguments)
    if change.moved and change.to_status == PaymentStatus.PAID:
        payment_confirmed.send_robust(Payment, **arguments)
    fields = {"payment_id": str(payment.public_id), "status": change.to_status, "source": change.source}
    logger.info("payment_status_changed", extra=fields | {"stripe_event_id": change.stripe_event_id})
