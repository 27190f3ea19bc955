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
    corrected patient or service, if `before`, the appointment as it was, is given; open pages then load again. Canceled
    appointments whose slot this appointment takes or leaves are updated as well: their reviews say if the slot is free.
    """
    with transaction.atomic():
        start = {"amount_due": appointment.price_amount, "currency": appointment.currency}
        found = Payment.objects.get_or_create(appointment=appointment, defaults=start)[0]
        _lock_calendar(appointment)
        slots = Q(start__lt=appointment.end, end__gt=appointment.start, practitioner=appointment.practitioner_id)
        if found.booking:
            left = found.booking
            slots |= Q(start__lt=left["end"], end__gt=left["start"], practitioner=left["practitioner"])
        rivals = Appointment.objects.filter(slots, status=Appointment.Status.CANCELED)
        affected = Q(pk=found.pk) | Q(appointment__in=rivals.values("pk"))
        for payment in Payment.objects.locked().filter(affected).order_by("pk"):
            if payment.pk == found.pk:
                _follow(payment, appointment, actor, before)
                found = payment
            else:
                # Read after the lock: a joined row may be older than the payment that this transaction waited for.
                _follow(payment, Appointment.objects.get(pk=payment.appointment_id), actor)
        return found


def check_currency(appointment: Appointment) -> None:
    """Raise ValidationError if the appointment's currency was changed but money was paid, or is perhaps being paid.

    The rows stay locked until the caller's transaction ends, so that no money moves before the appointment is saved.
    They are locked in the order in which `follow_appointment` locks them, so that the two functions never deadlock.
    """
    changed = Payment.objects.filter(appointment=appointment.pk).exclude(currency=appointment.currency)
    if not changed.exists():
        return
    with transaction.atomic():
        Appointment.objects.select_for_update(no_key=True).get(pk=appointment.pk)
        _lock_calendar(appointment)
        _require_currency(Payment.objects.locked().get(appointment=appointment.pk), appointment)


def _require_currency(payment: Payment, appointment: Appointment) -> None:
    """Raise ValidationError if the currency of the locked `payment` would change after money moved or may move."""
    if payment.currency == appointment.currency:
        return
    facts = [fact.value for fact in Fact.objects.belonging_to(payment.public_id, [])()]
    if any(attempt.evidence or attempt.state in UNDER_WAY for attempt in attempts_of(facts)):
        text = _(
            "The currency can’t be changed any more, because money was paid or a payment page is open."
            " Cancel this appointment and book another one."
        )
        raise ValidationError({"currency": text})


def _lock_calendar(appointment: Appointment) -> None:
    """Lock the practitioner's row, so that cancelling an appointment and booking its slot run one after another."""
    practitioners = Practitioner.objects.select_for_update(no_key=True)
    practitioners.filter(pk=appointment.practitioner_id).values_list("pk", flat=True).first()


def _follow(
    payment: Payment, appointment: Appointment, actor: AbstractUser | None, before: Appointment | None = None
) -> None:
    """Copy the appointment's data into the locked `payment`, and recompute the payment's status and amounts.

    `before` is the appointment as it was, and `actor` the person who changed it.
    """
    _require_currency(payment, appointment)
    price, booking = appointment.price_amount, _booking(appointment)
    if payment.booking and payment.currency == appointment.currency and price != payment.booking["price"][0]:
        payment.earlier_prices = [*payment.earlier_prices, payment.booking["price"][0]]
    changed = {name: value for name, value in booking.items() if payment.booking.get(name) != value}
    if before and (corrected := _corrected(before, appointment)):
        changed["corrected"] = corrected
        _reload_pages(before.patient_id, appointment.patient_id)
    booked_again = payment.booking and payment.terms.canceled and not appointment.canceled
    payment.booking, payment.currency, payment.slot_lost = booking, appointment.currency, appointment.slot_resold()
    update(payment, ["currency", "earlier_prices", "booking", "slot_lost", "updated_at"])
    asked = [_asked_again(payment)] if booked_again else []
    facts = linking.absorb(asked, payment, Fact.objects.belonging_to(payment.public_id, [])(), actor)
    _update(payment, facts, Cause(Source.APPOINTMENT, actor=actor), changed)


def _asked_again(payment: Payment) -> StripeFact:
    """Return a fact that says that a canceled visit was booked again, so that its price is owed again."""
    return payment.own_fact(Kind.OBSERVATION, f"asked_{uuid.uuid4().hex}", "asked_again")


def _corrected(before: Appointment, appointment: Appointment) -> list[str]:
    """Return which of the fields "patient" and "service" differ between the two states of the appointment.

    Only the fields' names are recorded: their values are personal, and recorded changes are never erased.
    """
    differ = {"patient": "patient_id", "service": "service"}
    return [name for name, field in differ.items() if getattr(before, field) != getattr(appointment, field)]


def _reload_pages(old_patient: int, patient: int) -> None:
    """Make open pages of the staff and of both patients load again.

    If the patient has changed, the entries of the old patient's feed (list of changes that the pages show) are deleted,
    because they show the payment as it is now.
    """
    Feed.objects.begin_epoch([STAFF, patient_audience(old_patient), patient_audience(patient)])
    if old_patient != patient:
        Feed.objects.forget(patient_audience(old_patient))


def _booking(appointment: Appointment) -> dict[str, object]:
    """Return the appointment's data that pages show and that decide how much its payment is due for, as JSON.

    "price" is a list of the amount in minor units and the currency; "deposit" and "fee" are in the same minor units.
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
    fields; if there are any, a change is stored even if status and amounts didn't change.
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
