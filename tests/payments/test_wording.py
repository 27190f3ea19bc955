"""Tests of the texts that describe changes in a payment's timeline."""

import datetime

import pytest
from django.utils import translation

from appointments.models import Appointment, Practitioner
from payments.models import Payment
from payments.wording import describe

pytestmark = pytest.mark.django_db


def test_an_appointment_of_which_everything_changed_at_once_was_not_booked_again(payment: Payment) -> None:
    appointment = payment.appointment
    appointment.price_amount = 6000
    appointment.start -= datetime.timedelta(hours=1)
    appointment.practitioner = Practitioner.objects.create(name="Julie Lambert", specialty="Kinésithérapie")
    appointment.status = Appointment.Status.COMPLETED
    appointment.save()
    booked, changed = payment.changes.order_by("version")
    with translation.override("en"):
        assert describe(booked, to_staff=True) == "Appointment booked · €50.00"
        said = describe(changed, to_staff=True).split(" · ")
    assert [said[0], said[2], said[3]] == ["Price changed to €60.00", "Practitioner changed", "Attended"]
    assert said[1].startswith("Moved to ")
