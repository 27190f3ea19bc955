"""A patient, a member of staff and an appointment to pay."""

import datetime
from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from appointments.models import Appointment, Practitioner
from payments.models import Payment
from tests.payments.stripe_story import Story


@pytest.fixture
def patient(db: None) -> User:
    return User.objects.create_user("camille", email="camille@example.com", first_name="Camille", last_name="Roux")


@pytest.fixture
def clerk(db: None) -> User:
    return User.objects.create_user("desk", is_staff=True, first_name="Inès", last_name="Faure")


@pytest.fixture
def practitioner(db: None) -> Practitioner:
    return Practitioner.objects.create(name="Dr Anne Mercier", specialty="Dermatology")


@pytest.fixture
def book(patient: User, practitioner: Practitioner) -> Callable[..., Payment]:
    """Book an appointment and return its payment: 50,00 € tomorrow unless said otherwise."""

    def book(amount: int = 5000, currency: str = "eur", **fields: object) -> Payment:
        start = timezone.now() + datetime.timedelta(days=1)
        defaults = {"patient": patient, "practitioner": practitioner, "service": "Consultation", "start": start}
        defaults["end"] = start + datetime.timedelta(minutes=30)
        appointment = Appointment.objects.create(
            price_amount=amount,
            currency=currency,
            **defaults | fields,  # type: ignore[misc]
        )
        return Payment.objects.with_appointment().get(appointment=appointment)

    return book


@pytest.fixture
def payment(book: Callable[..., Payment]) -> Payment:
    return book()


@pytest.fixture
def story(payment: Payment) -> Story:
    return Story(payment)
