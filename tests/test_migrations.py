"""Tests that all migrations, the site's and its libraries', run on an empty database as in production."""

import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator

import psycopg
import pytest
from psycopg import sql

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


Manage = Callable[..., str]


@pytest.fixture
def database_url(postgres_server: services.Postgres) -> Iterator[str]:
    """Yield the URL of an empty database."""
    name = postgres_server.create_database()
    yield postgres_server.database_url(name)
    postgres_server.drop_database(name)


@pytest.fixture
def manage(database_url: str) -> Manage:
    """Return a function that runs manage.py with migrations on the database and returns what it prints."""
    settings = {
        "DJANGO_SETTINGS_MODULE": "payments_site.settings",
        "SECRET_KEY": secrets.token_urlsafe(50),
        "SITE_URL": "http://127.0.0.1:8000",
        "SKIP_MIGRATIONS": "0",
        "DATABASE_URL": database_url,
    }

    def run(*arguments: str, status: int = 0) -> str:
        command = [sys.executable, "manage.py", *arguments]
        done = subprocess.run(
            command, cwd=ROOT, env={**os.environ, **settings}, check=False, text=True, stdout=subprocess.PIPE
        )
        assert done.returncode == status, done.stdout
        return done.stdout

    return run


@pytest.mark.nightly
@pytest.mark.timeout(600)
def test_migrations_from_zero_make_a_database_that_works(manage: Manage) -> None:
    manage("migrate", "--verbosity", "0")
    manage("migrate", "--check")
    assert manage("shell", "--no-imports", "--command", PROBE).strip() == "unpaid"


@pytest.fixture
def restricted(database_url: str, postgres_server: services.Postgres) -> Iterator[psycopg.Connection]:
    """Let all clients of the database work as a role that may make tables but no extensions.

    Yield a connection that may do everything.
    """
    role, name = f"restricted_{secrets.token_hex(4)}", database_url.rpartition("/")[2]
    with psycopg.connect(database_url, autocommit=True) as connection:
        for statement in (
            "CREATE ROLE {role}",
            "GRANT CREATE ON SCHEMA public TO {role}",
            "ALTER DATABASE {name} SET role = {role}",
        ):
            connection.execute(sql.SQL(statement).format(role=sql.Identifier(role), name=sql.Identifier(name)))
        yield connection
    postgres_server.drop_database(name)
    with psycopg.connect(postgres_server.url, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))


@pytest.mark.nightly
def test_a_role_that_may_create_no_extension_migrates_and_learns_what_is_missing(
    restricted: psycopg.Connection, manage: Manage
) -> None:
    manage("migrate", "clinic_accounts", "--verbosity", "0")
    assert "CREATE EXTENSION pg_trgm" in manage("payments_doctor", "name-search", status=1)
    restricted.execute("CREATE EXTENSION pg_trgm")
    manage("migrate", "clinic_accounts", "--verbosity", "0")
    manage("payments_doctor", "name-search")
    manage("migrate", "clinic_accounts", "zero", "--verbosity", "0")
