"""Tests that all migrations, the site's and its libraries', run on an empty database as in production."""

import os
import secrets
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from importlib import import_module
from pathlib import Path

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
    """Return a function that runs manage.py on the database and returns what it prints."""
    return manager_of(database_url)


def manager_of(database_url: str, **others: str) -> Manage:
    """Return a function that runs manage.py on the database, and returns what it prints.

    `others` are further environment variables. The function raises AssertionError if the exit status is not `status`.
    """
    settings = {
        "DJANGO_SETTINGS_MODULE": "payments_site.settings",
        "SECRET_KEY": secrets.token_urlsafe(50),
        "SITE_URL": "http://127.0.0.1:8000",
        "DATABASE_URL": database_url,
        **others,
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
def test_migrations_from_zero_make_a_database_that_works(manage: Manage) -> None:
    manage("migrate", "--verbosity", "0")
    manage("migrate", "--check")
    assert manage("shell", "--no-imports", "--command", PROBE).strip() == "unpaid"
    manage("migrate", "djstripe", "zero", "--verbosity", "0")
    manage("migrate", "--verbosity", "0")


# dj-stripe's migrations, which payments.gateway.djstripe_migrations replaces


def test_only_tables_are_made_by_the_migrations_that_are_replaced() -> None:
    """dj-stripe's migrations neither write rows nor run SQL, so its models tell all that they leave in a database."""
    migration = import_module("payments.gateway.djstripe_migrations.all_at_once")
    kinds = {type(operation).__name__ for each in migration.HISTORY for operation in each.operations}
    kinds -= {"CreateModel", "DeleteModel", "AddField", "RemoveField", "AlterUniqueTogether", "AlterModelOptions"}
    assert (migration.NAMES[0], kinds) == ("0001_initial", set())


COLUMNS = """SELECT table_name, column_name, data_type, character_maximum_length, is_nullable, column_default,
             is_identity FROM information_schema.columns WHERE table_schema = 'public'"""
INDEXES = "SELECT tablename, indexdef FROM pg_indexes WHERE schemaname = 'public'"
CONSTRAINTS = """SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
                 WHERE connamespace = 'public'::regnamespace"""


def schema_on_postgresql(url: str) -> set[tuple[object, ...]]:
    with psycopg.connect(url) as connection:
        return {row for query in (COLUMNS, INDEXES, CONSTRAINTS) for row in connection.execute(query)}


def schema_on_sqlite(url: str) -> set[tuple[object, ...]]:
    """Return what SQLite says of columns, keys and indexes, without the order of columns."""
    found: set[tuple[object, ...]] = set()
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
        for (table,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            found |= {(table, *row[1:]) for row in connection.execute(f"PRAGMA table_xinfo('{table}')")}
            found |= {(table, *row[2:]) for row in connection.execute(f"PRAGMA foreign_key_list('{table}')")}
            for _, index, *kind in connection.execute(f"PRAGMA index_list('{table}')").fetchall():
                columns = [row[2] for row in connection.execute(f"PRAGMA index_info('{index}')")]
                found.add((table, *kind, *columns))
        found |= set(connection.execute("SELECT name, tbl_name, sql FROM sqlite_master WHERE type = 'trigger'"))
    return found


@pytest.fixture(params=["sqlite", "postgres"])
def two_databases(
    request: pytest.FixtureRequest, postgres_server: services.Postgres, tmp_path: Path
) -> Iterator[tuple[list[str], Callable[[str], set[tuple[object, ...]]]]]:
    """Yield the URLs of two empty databases of one kind, and the function that reads the schema of one."""
    if request.param == "sqlite":
        yield [f"sqlite:///{tmp_path}/{name}.sqlite3" for name in ("ours", "theirs")], schema_on_sqlite
        return
    names = [postgres_server.create_database() for _ in range(2)]
    yield [postgres_server.database_url(name) for name in names], schema_on_postgresql
    for name in names:
        postgres_server.drop_database(name)


@pytest.mark.nightly
@pytest.mark.timeout(900)
def test_dj_stripes_own_migrations_lead_to_the_same_tables(
    two_databases: tuple[list[str], Callable[[str], set[tuple[object, ...]]]], tmp_path: Path
) -> None:
    """A database that began with dj-stripe's own migrations continues with them, and ends with the same schema."""
    (ours, theirs), schema = two_databases
    manager_of(ours)("migrate", "--verbosity", "0")
    (tmp_path / "without_ours.py").write_text("from payments_site.settings import *\nMIGRATION_MODULES = {}\n")
    without_ours = {"DJANGO_SETTINGS_MODULE": "without_ours", "PYTHONPATH": str(tmp_path)}
    manager_of(theirs, **without_ours)("migrate", "djstripe", "0001", "--verbosity", "0")
    manager_of(theirs)("migrate", "--verbosity", "0")
    assert "0003_2_11" in manager_of(theirs, **without_ours)("showmigrations", "djstripe")
    manager_of(theirs)("migrate", "--check")
    assert schema(ours) ^ schema(theirs) == set()


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
