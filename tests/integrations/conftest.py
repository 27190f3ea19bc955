"""Fixtures for tests of what other software sends and is told; payments come from the tests of payments."""

import ipaddress
from collections.abc import Iterator

import pytest
from pytest_django.fixtures import Settings

from integrations.models import WebhookEndpoint
from tests.integrations.receiver import Receiver, receiving
from tests.payments.conftest import as_clerk, book, clerk, patient, payment, practitioner, story

__all__ = ["as_clerk", "book", "clerk", "patient", "payment", "practitioner", "story"]


@pytest.fixture
def loopback(settings: Settings) -> None:
    """Allow webhooks to this machine."""
    settings.OUTGOING_WEBHOOK_NETWORKS = [ipaddress.ip_network("127.0.0.0/8")]


@pytest.fixture
def receiver(loopback: None) -> Iterator[Receiver]:
    with receiving() as running:
        yield running


@pytest.fixture
def endpoint(receiver: Receiver, db: None) -> WebhookEndpoint:
    return WebhookEndpoint.objects.create(url=receiver.url)
