"""Fixtures for tests with hostile input: one live site on PostgreSQL, whose log has to stay free of errors."""

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from payments.models import Payment
from tests import services
from tests.clinic import Clinic
from tests.inputs.target import BROKEN, OLD_SECRET, Target
from tests.live_site import ForkedSite, LiveSite, uvicorn_command
from tests.payments.conftest import book, clerk, patient, payment, practitioner, sandbox_process, story, stripe
from tests.payments.stripe_story import Story

__all__ = ["book", "clerk", "patient", "payment", "practitioner", "sandbox_process", "story", "stripe"]

PREPARE = """
import datetime, json
from django.contrib.auth.models import Group
from accounts.models import User
from django.utils import timezone
from appointments.models import Appointment, Practitioner
from payments.gateway.djstripe import bootstrap

bootstrap()
for name, group in (("staff0", "front desk"), ("staff1", "accountant")):
    User.objects.get(username=name).groups.add(Group.objects.get(name=group))
doctor, start = Practitioner.objects.get(), timezone.now()
made = {}
for currency, amount in (("jpy", 5000), ("kwd", 12340)):
    visit = Appointment.objects.create(
        patient=User.objects.get(username="patient2"), practitioner=doctor, service="Consultation",
        start=start, end=start + datetime.timedelta(minutes=20), price_amount=amount, currency=currency)
    made[currency] = [str(visit.payment.public_id), amount, visit.reference]
print(json.dumps(made))
"""


def prepare(site: LiveSite) -> dict[str, tuple[Story, str]]:
    """Give two members of staff their roles, and book one appointment in yen and one in Kuwaiti dinars.

    Return {currency: (story, reference)}: `story` makes Stripe's events about the appointment that `reference` names.
    """
    made = json.loads(site.manage("shell", "--no-imports", "--command", PREPARE).splitlines()[-1])
    return {
        currency: (Story(Payment(public_id=uuid.UUID(public_id), amount_due=amount, currency=currency)), reference)
        for currency, (public_id, amount, reference) in made.items()
    }


@contextmanager
def attacked(folder: Path, postgres: services.Postgres, template: str, server: str) -> Iterator[Target]:
    """Start a site on "daphne" or "uvicorn", whose files are in `folder`, and yield it as a target."""
    name = postgres.create_database(template)
    site = ForkedSite(folder, DATABASE_URL=postgres.database_url(name))
    site.server.env["STRIPE_WEBHOOK_SECRET"] = f"{site.settings['STRIPE_WEBHOOK_SECRET']},{OLD_SECRET}"
    if server == "uvicorn":
        site.server.command = uvicorn_command(site.server.port)
    site.start()
    try:
        target = Target(site, Clinic(site, staff=6, patients=3, each=6), prepare(site))
        yield target
        target.database.close()
    finally:
        site.stop()
        postgres.drop_database(name)


@contextmanager
def unharmed(target: Target) -> Iterator[Target]:
    """Yield the target, then check that its server still answers and has logged no error."""
    target.logged()
    yield target
    assert target.ask("GET", "/livez").status == 200
    assert target.site.server.running
    assert not BROKEN.search(target.logged())


@pytest.fixture(scope="session")
def attacked_site(
    tmp_path_factory: pytest.TempPathFactory, postgres_server: services.Postgres, postgres_template: str
) -> Iterator[Target]:
    with attacked(tmp_path_factory.mktemp("attacked"), postgres_server, postgres_template, "daphne") as target:
        yield target


@pytest.fixture
def target(attacked_site: Target) -> Iterator[Target]:
    with unharmed(attacked_site) as target:
        yield target
