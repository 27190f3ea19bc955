"""Keeps payments in step with their appointments: price, time, practitioner, attendance and slot."""

import datetime
import uuid
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from django.contrib.auth.models import AbstractUser
from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils.translation import gettext as _

from appointments.models import BATCH, Appointment, Practitioner, Saved

from .domain.attempts import AttemptState, attempts_of
from .domain.facts import Kind, StripeFact
from .domain.status import STILL_OPEN
from .ledger import Cause, Ledger, Source
from .linking import LockedRows
from .models import Fact, Feed, Payment, patient_audience
from .models.feed import STAFF

UNDER_WAY = (*STILL_OPEN, AttemptState.PROCESSING)
BOOKED = ("currency", "earlier_prices", "booking", "slot_lost")  # columns that follow the appointment
MANY = 200  # changes of one transaction that open pages of staff are sent one by one


def follow_appointments(saved: Sequence[Saved], actor: AbstractUser | None = None) -> list[Payment]:
    """Create or update the payments of appointments that are being saved, and return them in the same order.

    A changed price, time, practitioner or attendance is recorded as a change of the payment, made by `actor`. So is a
    corrected patient or service; open pages then load again. They also do after more than MANY changes at once, because
    the whole list is then faster than its changes. Canceled appointments whose slot one of the appointments takes or
    leaves are updated as well: their reviews say if the slot is free.
    """
    with transaction.atomic():
        stored = _payments_of(saved)
        _lock_calendars(each.appointment for each in saved)
        affected = {payment.public_id for payment in stored.values()} | _rivals_of(saved, stored)
        ledger = Ledger(LockedRows((), payments=affected))
        following = {each.appointment.pk: each for each in saved}
        cause, reload, found = Cause(Source.APPOINTMENT, actor=actor), set[str](), dict[int, Payment]()
        for payment in ledger.rows.payments.values():
            each = following.get(payment.appointment_id)
            corrected = _corrected(each) if each else []
            if each:
                found[payment.appointment_id], payment.appointment = payment, each.appointment
            if each and corrected:
                people = (each.appointment, each.before or each.appointment)
                reload |= {STAFF, *(patient_audience(person.patient_id) for person in people)}
            _follow(ledger, payment, cause, corrected)
        if len(saved) > MANY:
            reload.add(STAFF)
        ledger.write(columns=BOOKED, reload=reload)
        for each in saved:
            if each.before and each.before.patient_id != each.appointment.patient_id:
                Feed.objects.forget(patient_audience(each.before.patient_id))  # entries show the payment as it is now
        return [found[each.appointment.pk] for each in saved]


def _payments_of(saved: Sequence[Saved]) -> dict[int, Payment]:
    """Return the payments of the appointments by the appointments' keys. Create those that don't exist yet.

    No other transaction creates one: the appointments' rows are new or locked.
    """
    keys = [each.appointment.pk for each in saved]
    stored = {payment.appointment_id: payment for payment in Payment.objects.filter(appointment__pk__among=keys)}
    missing = [
        Payment(
            appointment_id=each.appointment.pk,
            amount_due=each.appointment.price_amount,
            currency=each.appointment.currency,
        )
        for each in saved
        if each.appointment.pk not in stored
    ]
    created = Payment.objects.bulk_create(missing, batch_size=BATCH)
    return stored | {payment.appointment_id: payment for payment in created}


def _rivals_of(saved: Sequence[Saved], stored: Mapping[int, Payment]) -> set[uuid.UUID]:
    """Return the public ids of canceled appointments' payments if one of the appointments takes or leaves their slot.

    `stored` holds the appointments' payments by the appointments' keys; they know which slots are left.
    """
    slots: defaultdict[int, list[tuple[datetime.datetime, datetime.datetime]]] = defaultdict(list)
    for each in saved:
        slots[each.appointment.practitioner_id].append((each.appointment.start, each.appointment.end))
        if left := stored[each.appointment.pk].booking:
            start, end = map(datetime.datetime.fromisoformat, (left["start"], left["end"]))
            slots[left["practitioner"]].append((start, end))
    rivals: list[int] = []
    for practitioner, times in slots.items():
        first, last = min(start for start, _end in times), max(end for _start, end in times)
        canceled = Appointment.objects.filter(
            start__lt=last, end__gt=first, practitioner=practitioner, status=Appointment.Status.CANCELED
        )
        for key, start, end in canceled.values_list("pk", "start", "end"):
            if any(start < until and end > since for since, until in times):
                rivals.append(key)
    return set(Payment.objects.filter(appointment__pk__among=rivals).values_list("public_id", flat=True))


def check_currency(appointment: Appointment) -> None:
    """Raise ValidationError if the appointment's currency was changed but money was paid, or is perhaps being paid.

    The rows stay locked until the caller's transaction ends, so that no money moves before the appointment is saved.
    They are locked in the order in which `follow_appointments` locks them, so that the two functions never deadlock.
    """
    if appointment._state.adding:
        return
    changed = Payment.objects.filter(appointment=appointment.pk).exclude(currency=appointment.currency)
    if not changed.exists():
        return
    with transaction.atomic():
        Appointment.objects.select_for_update(no_key=True).get(pk=appointment.pk)
        _lock_calendars([appointment])
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


def _lock_calendars(appointments: Iterable[Appointment]) -> None:
    """Lock the practitioners' rows, so that cancelling an appointment and booking its slot run one after another."""
    keys = {appointment.practitioner_id for appointment in appointments}
    practitioners = Practitioner.objects.select_for_update(no_key=True).filter(pk__in=keys).order_by("pk")
    list(practitioners.values_list("pk", flat=True))


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


def _corrected(saved: Saved) -> list[str]:
    """Return which of the fields "patient" and "service" of the appointment differ from what is stored.

    Only the fields' names are recorded: their values are personal, and recorded changes are never erased.
    """
    return sorted({"patient", "service"} & saved.changed_fields)


def _booking(appointment: Appointment) -> dict[str, object]:
    """Return the appointment's data that pages show and that decide how much its payment is due for, as JSON.

    "price" is a list of the amount in minor units and the currency; "deposit", "fee" and "no_show_fee" are in the same
    minor units. "arrived" is when the patient arrived, or None.
    """
    return {
        "start": appointment.start.astimezone(datetime.UTC).isoformat(),
        "end": appointment.end.astimezone(datetime.UTC).isoformat(),
        "practitioner": appointment.practitioner_id,
        "attendance": appointment.status,
        "price": [appointment.price_amount, appointment.currency],
        "deposit": appointment.deposit_amount,
        "fee": appointment.fee_amount,
        "prepayment": appointment.prepayment,
        "no_show_fee": appointment.no_show_fee_amount,
        "arrived": appointment.arrived_at.astimezone(datetime.UTC).isoformat() if appointment.arrived_at else None,
    }
