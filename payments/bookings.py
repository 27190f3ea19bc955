"""Keeps payments in step with their appointments: price, time, practitioner, attendance and slot."""

import datetime
import uuid
from collections.abc import Iterable, Sequence

from django.contrib.auth.models import AbstractUser
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Q
from django.utils.translation import gettext as _

from appointments.models import Appointment, Practitioner

from .domain.attempts import AttemptState, attempts_of
from .domain.facts import Kind, StripeFact
from .domain.status import STILL_OPEN
from .ledger import Cause, Ledger, Source
from .linking import LockedRows
from .models import Fact, Feed, Payment, patient_audience
from .models.feed import STAFF

UNDER_WAY = (*STILL_OPEN, AttemptState.PROCESSING)
BOOKED = ("currency", "earlier_prices", "booking", "slot_lost")  # columns that follow the appointment


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
