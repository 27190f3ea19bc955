"""Changes the status of payments. No other module does.

A change is committed together with the facts (states of Stripe objects) that caused the change, and with the change's
entries in the feeds, the lists of changes that pages follow.
"""

import datetime
import logging
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial

from django.contrib.auth.models import AbstractUser
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Q
from django.utils.translation import gettext as _

from appointments.models import Appointment, Practitioner

from . import logs
from .db.statements import Statement, insert, update
from .domain.attempts import AttemptState, attempts_of
from .domain.facts import Kind, StripeFact
from .domain.status import STILL_OPEN, PaymentStatus, derive
from .linking import LockedRows
from .models import EventReceipt, Fact, Feed, FeedEntry, Payment, StatusChange, patient_audience
from .models.feed import STAFF
from .models.payment import RESULTS, SUMS
from .signals import entries_committed, payment_confirmed, payment_status_changed

logger = logging.getLogger(__name__)
Outcome = EventReceipt.Outcome
Source = StatusChange.Source

UNDER_WAY = (*STILL_OPEN, AttemptState.PROCESSING)
MOVED = ("status", *(f"amount_{name}" for name in SUMS + RESULTS), "payable", "attempt", "failure_code", "method",
         "dispute_due_by", "reviews", "version", "updated_at")  # fmt: skip
BOOKED = ("currency", "earlier_prices", "booking", "slot_lost")  # what `follow_appointment` changes besides


@dataclass(frozen=True, slots=True)
class Cause:
    """Why a payment changed: the source, Stripe's event, the person, the time, and the id of the HTTP request.

    The audit log and the payment's timeline show it.
    """

    source: StatusChange.Source
    stripe_event_id: str = ""
    actor: AbstractUser | None = None
    occurred_at: datetime.datetime | None = None
    request_id: str = field(default_factory=logs.request_id.get)


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
        ledger = Ledger(LockedRows(facts))
        recorded = ledger.record(facts, cause)
        ledger.write()
    return recorded


class Ledger:
    """Records facts (states of Stripe objects) about any number of payments, one after the other, in one transaction.

    The locked `rows` are changed in memory; `write` then stores all changes in one round trip. So each of several
    events gets its own outcome and its own StatusChange, but a payment that they change is written once.
    """

    def __init__(self, rows: LockedRows) -> None:
        self.rows = rows
        self._payments: dict[int, Payment] = {}
        self._changes: list[tuple[StatusChange, Cause]] = []

    def touch(self, payment: Payment) -> None:
        """Have `write` store this payment."""
        self._payments[payment.pk] = payment

    def record(self, facts: Sequence[StripeFact], cause: Cause) -> Recorded:
        """Do what the function `record` does, but write nothing yet."""
        payment = self.rows.find_payment(facts)
        if payment is None:
            return Recorded(self.rows.keep_waiting(facts, cause.actor))
        merged = self.rows.absorb(facts, payment, cause.actor)
        change = self.update(payment, merged, replace(cause, actor=cause.actor or _requester(facts, merged)))
        return Recorded(Outcome.APPLIED if change else Outcome.NO_CHANGE, payment, change)

    def update(
        self, payment: Payment, facts: Sequence[Fact], cause: Cause, booking: Mapping[str, object] | None = None
    ) -> StatusChange | None:
        """Compute the payment's status and amounts from `facts`; return the change, if any.

        `facts` are all stored facts (states of Stripe objects) of the payment. `booking` holds the appointment's
        changed fields; if there are any, there is a change even if status and amounts didn't change.
        """
        standing = derive([fact.value for fact in facts], payment.terms)
        if not booking and replace(standing, method=payment.method) == payment.standing:
            if standing.method != payment.method:  # is stored, but pages need no entry for it
                payment.method = standing.method
                self.touch(payment)
            return None
        before = PaymentStatus(payment.status)
        payment.standing = standing
        payment.version += 1
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
        self.touch(payment)
        self._changes.append((change, cause))
        return change

    def write(
        self,
        *more: Statement,
        columns: Sequence[str] = (),
        reload: Iterable[str] = (),
        answer: Callable[[], object] | None = None,
    ) -> None:
        """Store everything, with the statements `more`, and commit unless this is a part of a larger transaction.

        `columns` are other columns of the payments that have changed; `reload` are audiences whose pages load again.
        After the commit, open pages get their entries first; then `answer` is called, and then signals are sent.
        """
        changes = [change for change, _cause in self._changes]
        payments = update(self._payments.values(), (*MOVED, *columns))
        statements = [*self.rows.writes(), payments, insert(changes), *more]
        entries = Feed.objects.append(changes, after=statements, reload=reload)
        if entries:
            transaction.on_commit(partial(entries_committed.send_robust, Feed, entries=entries), robust=True)
        if answer:
            transaction.on_commit(answer, robust=True)
        for change, cause in self._changes:
            own = [entry for entry in entries if entry.change is change]
            transaction.on_commit(partial(_announce, change, own, cause), robust=True)


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
        affected = Payment.objects.filter(Q(pk=found.pk) | Q(appointment__in=rivals.values("pk")))
        ledger = Ledger(LockedRows((), payments=affected.values_list("public_id", flat=True)))
        cause, corrected = Cause(Source.APPOINTMENT, actor=actor), _corrected(before, appointment) if before else []
        for payment in ledger.rows.payments.values():
            if payment.pk == found.pk:
                found, payment.appointment = payment, appointment
            _follow(ledger, payment, cause, corrected if payment is found else ())
        reload = [STAFF, *(patient_audience(person.patient_id) for person in (before, appointment) if person)]
        ledger.write(columns=BOOKED, reload=reload if corrected else ())
        if before and before.patient_id != appointment.patient_id:  # entries show the payment as it is now
            Feed.objects.forget(patient_audience(before.patient_id))
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
        payment = Payment.objects.locked().get(appointment=appointment.pk)
        _require_currency(payment, appointment, payment.facts.all())


def _require_currency(payment: Payment, appointment: Appointment, facts: Iterable[Fact]) -> None:
    """Raise ValidationError if the currency of the locked `payment` would change after money moved or may move.

    `facts` are all stored facts (states of Stripe objects) of the payment.
    """
    if payment.currency == appointment.currency:
        return
    attempts = attempts_of([fact.value for fact in facts])
    if any(attempt.evidence or attempt.state in UNDER_WAY for attempt in attempts):
        text = _(
            "The currency can’t be changed any more, because money was paid or a payment page is open."
            " Cancel this appointment and book another one."
        )
        raise ValidationError({"currency": text})


def _lock_calendar(appointment: Appointment) -> None:
    """Lock the practitioner's row, so that cancelling an appointment and booking its slot run one after another."""
    practitioners = Practitioner.objects.select_for_update(no_key=True)
    practitioners.filter(pk=appointment.practitioner_id).values_list("pk", flat=True).first()


def _follow(ledger: Ledger, payment: Payment, cause: Cause, corrected: Sequence[str] = ()) -> None:
    """Copy the appointment's data into the locked `payment`, and recompute the payment's status and amounts.

    `corrected` names the appointment's corrected fields that aren't a part of the payment's data.
    """
    appointment, earlier = payment.appointment, payment.booking
    _require_currency(payment, appointment, ledger.rows.absorb((), payment))
    price, booking = appointment.price_amount, _booking(appointment)
    if earlier and payment.currency == appointment.currency and price != earlier["price"][0]:
        payment.earlier_prices = [*payment.earlier_prices, earlier["price"][0]]
    changed = {name: value for name, value in booking.items() if earlier.get(name) != value}
    if corrected:
        changed["corrected"] = corrected
    booked_again = earlier and payment.terms.canceled and not appointment.canceled
    payment.booking, payment.currency, payment.slot_lost = booking, appointment.currency, appointment.slot_resold()
    ledger.touch(payment)
    asked = [_asked_again(payment)] if booked_again else []
    ledger.update(payment, ledger.rows.absorb(asked, payment, cause.actor), cause, changed)


def _asked_again(payment: Payment) -> StripeFact:
    """Return a fact that says that a canceled visit was booked again, so that its price is owed again."""
    return payment.own_fact(Kind.OBSERVATION, f"asked_{uuid.uuid4().hex}", "asked_again")


def _corrected(before: Appointment, appointment: Appointment) -> list[str]:
    """Return which of the fields "patient" and "service" differ between the two states of the appointment.

    Only the fields' names are recorded: their values are personal, and recorded changes are never erased.
    """
    differ = {"patient": "patient_id", "service": "service"}
    return [name for name, field in differ.items() if getattr(before, field) != getattr(appointment, field)]


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


def _announce(change: StatusChange, entries: list[FeedEntry], cause: Cause) -> None:
    """Send the signals and write the log line of a change that has been committed."""
    payment = change.payment
    arguments = {"payment": payment, "change": change, "entries": entries}
    fields = {"payment_id": str(payment.public_id), "status": change.to_status, "source": change.source}
    with logs.request(cause.request_id):  # because one transaction may hold the events of several requests
        payment_status_changed.send_robust(Payment, **arguments)
        if change.moved and change.to_status == PaymentStatus.PAID:
            payment_confirmed.send_robust(Payment, **arguments)
        logger.info("payment_status_changed", extra=fields | {"stripe_event_id": change.stripe_event_id})
