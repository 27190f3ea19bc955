"""Tests of the access version, which changes with every commit that may end somebody's access."""

import datetime
from collections.abc import Callable
from importlib import import_module
from io import StringIO
from unittest.mock import patch

import pytest
from django.conf import settings
from django.contrib.auth.models import Group, Permission
from django.core.management import call_command
from django.db import connection, transaction
from django.test import Client
from pytest_django.fixtures import DjangoAssertNumQueries

from accounts.models import User
from payments.doctor import database
from payments.doctor.finding import Level
from people import access
from people.models import AccessVersion

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.postgres]


def version() -> int:
    return AccessVersion.objects.get().number


def execute(sql: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql)


def sign_out(client: Client, person: User) -> None:
    client.logout()


def set_password(client: Client, person: User) -> None:
    person.set_password("another")
    person.save()


def set_password_by_command(client: Client, person: User) -> None:
    with patch("getpass.getpass", lambda prompt: "a long new passphrase"):  # the command reads it from a terminal
        call_command("changepassword", person.username, stdout=StringIO())


def deactivate(client: Client, person: User) -> None:
    User.objects.filter(pk=person.pk).update(is_active=False)


def deactivate_in_bulk(client: Client, person: User) -> None:
    person.is_active = False
    User.objects.bulk_update([person], ["is_active"])


def delete(client: Client, person: User) -> None:
    person.delete()


ENDINGS: list[Callable[[Client, User], None]] = [
    sign_out, set_password, set_password_by_command, deactivate, deactivate_in_bulk, delete,
]  # fmt: skip
STATEMENTS = (
    "DELETE FROM django_session",
    "UPDATE clinic_accounts_user SET is_staff = false",
    "UPDATE clinic_accounts_user SET password = 'x'",
    "DELETE FROM clinic_accounts_user",
)


@pytest.fixture
def person() -> User:
    return User.objects.create_user("desk", password="first", is_staff=True)


@pytest.fixture
def signed_in(client: Client, person: User) -> Client:
    client.force_login(person)
    return client


@pytest.mark.parametrize("end", ENDINGS, ids=lambda end: end.__name__)
def test_whatever_ends_access_changes_the_version(
    signed_in: Client, person: User, end: Callable[[Client, User], None]
) -> None:
    before = version()
    end(signed_in, person)
    assert version() != before


@pytest.mark.parametrize("statement", STATEMENTS)
def test_sql_changes_the_version_too(signed_in: Client, statement: str) -> None:
    before = version()
    execute(statement)
    assert version() != before


def test_what_ends_nobodys_access_leaves_the_version(signed_in: Client, person: User) -> None:
    before = version()
    store = import_module(settings.SESSION_ENGINE).SessionStore(signed_in.session.session_key)
    store["page"] = 2
    store.set_expiry(datetime.timedelta(days=1))
    store.save()
    person.first_name = "Inès"
    person.save()
    User.objects.create_user("camille")
    assert version() == before


def test_the_version_changes_with_the_transaction_and_not_without_it(signed_in: Client, person: User) -> None:
    before = version()
    with transaction.atomic():
        deactivate(signed_in, person)
        transaction.set_rollback(True)
    assert version() == before
    with transaction.atomic():
        for number in range(3):
            deactivate(signed_in, User.objects.create_user(f"clerk{number}"))
    first = version()
    assert first != before
    sign_out(signed_in, person)
    assert version() != first


def test_migrate_makes_triggers_that_were_lost() -> None:
    assert access.missing_triggers(connection) == set()
    on_table = " ON clinic_accounts_user" if connection.vendor == "postgresql" else ""
    execute(f"DROP TRIGGER clinic_access_person_changed{on_table}")
    AccessVersion.objects.all().delete()
    verdict = database.access_triggers()
    assert verdict.level == Level.WARNING
    assert "clinic_access_person_changed" in verdict.what
    call_command("migrate", verbosity=0)
    assert database.access_triggers().level == Level.OK
    assert version() == 0


@pytest.mark.django_db
def test_own_permissions_and_those_of_groups_are_read_with_one_query(
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    made = User.objects.create_user("desk", is_staff=True)
    made.groups.add(Group.objects.get(name="front desk"))
    made.user_permissions.add(Permission.objects.get(codename="export_payments"))
    person = User.objects.get(pk=made.pk)
    with django_assert_num_queries(1):
        assert person.has_perm("clinic_payments.export_payments")
        assert person.has_perm("clinic_payments.refund_payment")
        assert not person.has_perm("clinic_payments.view_transfers")
        assert not person.has_perm("clinic_payments.refund_payment", obj=made)
    assert not User(username="new", is_active=False).get_all_permissions()
    assert User(username="root", is_superuser=True).has_perm("clinic_payments.view_transfers")
