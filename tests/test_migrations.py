"""Tests that all migrations, the site's and its libraries', run on an empty database as in production."""

import os
import secrets
import subprocess
import sys

import pytest

from payments_site.demo.site import ROOT
from tests import services

PROBE = """
from datetime import timedelta
from accounts.models import User
from django.utils import timezone
from appointments.models import Appointment, Practitioner
now = timezone.now()
doctor, patient = Practitioner.objects.create(name="Dr Anne Mercier"), User.objects.create_user("camille")
visit = Appointment.objects.create(patient=patient, practitioner=doctor, service="Consultation", start=now,
                                   end=now + timedelta(minutes=20), price_amount=5000)
print(visit.payment.status)
"""


@pytest.mark.nightly
@pytest.mark.timeout(600)
def test_migrations_from_zero_make_a_database_that_works(postgres_server: services.Postgres) -> None:
    name = postgres_server.create_database()
    settings = {
        "DJANGO_SETTINGS_MODULE": "payments_site.settings",
        "SECRET_KEY": secrets.token_urlsafe(50),
        "SITE_URL": "http://127.0.0.1:8000",
        "SKIP_MIGRATIONS": "0",
        "DATABASE_URL": postgres_server.database_url(name),
    }

    def manage(*arguments: str) -> str:
        command = [sys.executable, "manage.py", *arguments]
        return subprocess.run(
            command, cwd=ROOT, env={**os.environ, **settings}, check=True, text=True, stdout=subprocess.PIPE
        ).stdout

    try:
        manage("migrate", "--verbosity", "0")
        manage("migrate", "--check")
        assert manage("shell", "--no-imports", "--command", PROBE).strip() == "unpaid"
    finally:
        postgres_server.drop_database(name)
