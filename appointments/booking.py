"""Books and moves one appointment at the front desk. Overlaps are refused until somebody confirms them.

Every function that decides whether a time is free holds the practitioner's row locked, and the patient's, so that two
people who book the same time at once can't both get it unnoticed.
"""

import datetime
from collections.abc import Collection, Sequence

from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractBaseUser
from django.db import transaction
from django.db.models import Q

from . import week
from .models import Appointment, Practitioner, Service

OPENS, CLOSES = datetime.time(8), datetime.time(19)  # between which free times are proposed


class OverlapError(Exception):
    """Raised when the time overlaps with appointments that nobody has confirmed; `overlaps` are all that overlap."""

    def __init__(self, overlaps: Sequence[Appointment]) -> None:
        super().__init__()
        self.overlaps = overlaps


def overlaps_of(appointment: Appointment) -> list[Appointment]:
    """Return the other appointments of the practitioner or of the patient that overlap this one, by time."""
    same = Q(practitioner=appointment.practitioner_id) | Q(patient=appointment.patient_id)
    others = Appointment.objects.overlapping(appointment.start, appointment.end).filter(same).exclude(pk=appointment.pk)
    return list(others.select_related("patient", "practitioner"))


def book(appointment: Appointment, actor: AbstractBaseUser, confirmed: Collection[str] = ()) -> Appointment:
    """Save a new appointment, and its patient if that is new too, and return it.

    If an appointment with its `key` exists, because the form was sent twice, nothing is saved and that one is returned.
    `confirmed` holds the references of the appointments that may overlap. Raises OverlapError if others do.
    """
    with transaction.atomic():
        _lock_calendars(appointment)
        if booked := Appointment.objects.filter(key=appointment.key).first():
            return booked
        if appointment.patient_id is None:  # a patient who isn't saved yet has no key
            appointment.patient.save()  # type: ignore[unreachable]
            appointment.patient = appointment.patient  # takes over the key that the patient has now
        _require_free(appointment, confirmed)
        appointment.save(actor=actor)
        return appointment


def change(
    appointment: Appointment, actor: AbstractBaseUser, changed: Collection[str], confirmed: Collection[str] = ()
) -> None:
    """Save the fields `changed` of an appointment.

    `confirmed` holds the references of the appointments that may overlap. Raises OverlapError if others do and the
    time or the practitioner is among the changes.
    """
    with transaction.atomic():
        Appointment.objects.select_for_update().get(pk=appointment.pk)  # before the calendar, as when one is saved
        _lock_calendars(appointment)
        if not {"start", "end", "practitioner"}.isdisjoint(changed) and not appointment.canceled:
            _require_free(appointment, confirmed)
        appointment.save(actor=actor, update_fields=list(changed))


def cancel(appointment: Appointment, actor: AbstractBaseUser, fee: int) -> bool:
    """Cancel an appointment, of which the clinic keeps `fee` minor units; return False if it was canceled before."""
    with transaction.atomic():
        locked = Appointment.objects.select_for_update().get(pk=appointment.pk)
        if locked.canceled:
            return False
        locked.status, locked.fee_amount = Appointment.Status.CANCELED, fee
        locked.save(actor=actor, update_fields=["status", "fee_amount"])
        return True


def set_service(appointment: Appointment, service: Service) -> None:
    """Copy the service's name and what it asks for in advance into the appointment. Its price must be set already."""
    appointment.service, appointment.prepayment = service.name, service.prepayment
    appointment.no_show_fee_amount = min(service.no_show_fee_amount, appointment.price_amount)


def free_times(practitioner: Practitioner, day: datetime.date, minutes: int) -> list[datetime.datetime]:
    """Return the starts, in UTC, of the practitioner's free times of this length on a day."""
    terms = week.Terms(practitioner, "", minutes, 0, "")
    return list(week.free_times(terms, [day], OPENS, CLOSES))


def _lock_calendars(appointment: Appointment) -> None:
    """Lock the rows of the practitioner and of the patient, in this order, until the transaction ends."""
    Practitioner.objects.select_for_update(no_key=True).get(pk=appointment.practitioner_id)
    get_user_model().objects.select_for_update(no_key=True).filter(pk=appointment.patient_id).first()


def _require_free(appointment: Appointment, confirmed: Collection[str]) -> None:
    overlaps = overlaps_of(appointment)
    if not {each.reference for each in overlaps} <= set(confirmed):
        raise OverlapError(overlaps)
