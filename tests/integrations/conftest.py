"""Fixtures for tests of what the clinic's other software sends and is told."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pytest_django.fixtures import Settings

from accounts.models import User
from appointments.models import Practitioner, Service
from integrations.api import keys
from integrations.models import WebhookEndpoint
from tests.integrations.client import ApiClient, make_key
from tests.integrations.receiver import Receiver, receiving
from tests.payments.conftest import (
    as_clerk,
    book,
    clerk,
    patient,
    payment,
    practitioner,
    sandbox_process,
    story,
    stripe,
)

__all__ = ["as_clerk", "book", "clerk", "patient", "payment", "practitioner", "sandbox_process", "story", "stripe"]


@pytest.fixture
def loopback(settings: Settings) -> None:
    """Allow webhooks to this machine."""
    settings.CLINIC_OUTGOING_WEBHOOK_NETWORKS = ["127.0.0.0/8"]


@pytest.fixture
def receiver(loopback: None) -> Iterator[Receiver]:
    with receiving() as running:
        yield running


@pytest.fixture
def endpoint(receiver: Receiver, db: None) -> WebhookEndpoint:
    return WebhookEndpoint.objects.create(url=receiver.url)


@pytest.fixture(autouse=True)
def _fresh_rates() -> None:
    """Begin each test with unused limits, which the process counts."""
    keys.used.forget()
    keys.mistaken.forget()


@pytest.fixture
def software(db: None) -> User:
    return User.objects.create_user("agenda", is_staff=True, first_name="Agenda", last_name="Software")


@pytest.fixture
def api(software: User) -> ApiClient:
    """Return a client of the API whose key has all scopes."""
    return ApiClient(make_key(software)[1])


@pytest.fixture
def service(db: None) -> Service:
    return Service.objects.create(name="Consultation", minutes=30, price_amount=5500)


@pytest.fixture
def visit(practitioner: Practitioner, service: Service) -> Callable[..., dict[str, Any]]:
    """Return a function that returns the body of a request that books an appointment for the patient p-1."""

    def body(**values: Any) -> dict[str, Any]:
        return {
            "patient_external_id": "p-1",
            "practitioner_id": practitioner.pk,
            "service_id": service.pk,
            "start": "2031-03-10T09:00:00+01:00",
        } | values

    return body
