"""Fixtures for tests of payments: users, a bookable appointment with its payment, and the Stripe sandbox."""

import datetime
import sys
from collections.abc import Callable, Iterator

import pytest
from django.contrib.auth.models import Group
from django.test import Client
from django.utils import timezone
from pytest_django.fixtures import Settings

from accounts.models import User
from appointments.models import Appointment, Practitioner
from payments.models import Payment
from payments.models.installation import own_site_id
from payments_site.demo.process import HOST, Process, free_port
from tests.payments.clients import client_of
from tests.payments.sandbox import StripeAtHome, open_checkout
from tests.payments.stripe_story import Story


@pytest.fixture
def patient(db: None) -> User:
    return User.objects.create_user("camille", email="camille@example.com", first_name="Camille", last_name="Roux")


@pytest.fixture
def clerk(db: None) -> User:
    user = User.objects.create_user("desk", is_staff=True, first_name="Inès", last_name="Faure")
    user.groups.set(Group.objects.filter(name="front desk"))
    return user


@pytest.fixture
def as_patient(patient: User) -> Client:
    return client_of(patient)


@pytest.fixture
def as_clerk(clerk: User) -> Client:
    return client_of(clerk, "front desk")


@pytest.fixture
def as_accountant(clerk: User) -> Client:
    return client_of(clerk, "accountant")


@pytest.fixture
def practitioner(db: None) -> Practitioner:
    return Practitioner.objects.create(name="Dr Anne Mercier", specialty="Dermatology")


@pytest.fixture
def book(patient: User, practitioner: Practitioner) -> Callable[..., Payment]:
    """Return a function that books an appointment and returns its payment: by default 50,00 €, in 24 hours."""

    def book(amount: int = 5000, currency: str = "eur", **fields: object) -> Payment:
        start = timezone.now() + datetime.timedelta(days=1)
        defaults = {"patient": patient, "practitioner": practitioner, "service": "Consultation", "start": start}
        defaults["end"] = start + datetime.timedelta(minutes=30)
        appointment = Appointment.objects.create(
            price_amount=amount,
            currency=currency,
            **defaults | fields,
        )
        return Payment.objects.with_appointment().get(appointment=appointment)

    return book


@pytest.fixture
def payment(book: Callable[..., Payment]) -> Payment:
    return book()


@pytest.fixture
def story(payment: Payment) -> Story:
    return Story(payment, site=own_site_id())


@pytest.fixture(scope="session")
def sandbox_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    port = free_port()
    # A charge gets its balance transaction only when a test moves the clock, so that each test sees the same events.
    command = [sys.executable, "-m", "stripe_sandbox", "--port", str(port), "--balance-seconds", "600"]
    process = Process("sandbox", command, port, tmp_path_factory.mktemp("sandbox") / "sandbox.log", {})
    process.start()
    yield process
    process.stop()


@pytest.fixture
def stripe(sandbox_process: Process, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> StripeAtHome:
    """Return an empty Stripe sandbox; during the test, the site and dj-stripe send their API calls to it."""
    settings.STRIPE_API_HOST = f"http://{HOST}:{sandbox_process.port}"
    monkeypatch.setattr("stripe.api_base", settings.STRIPE_API_HOST)  # dj-stripe sets api_base only once, at import
    at_home = StripeAtHome(settings.STRIPE_API_HOST)
    at_home.do("reset")
    at_home.do("api", mode="ok")
    at_home.do("clock", offset=0)
    return at_home


@pytest.fixture
def paid(payment: Payment, stripe: StripeAtHome) -> Payment:
    stripe.do("pay", session=open_checkout(payment))
    stripe.tell()
    payment.refresh_from_db()
    return payment
