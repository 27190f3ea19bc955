import threading

import pytest
from django.contrib.auth import get_user_model
from django.db import connection, connections

VENDORS = {"sqlite": "sqlite", "postgres": "postgresql"}


@pytest.mark.postgres
@pytest.mark.django_db
def test_a_marked_test_runs_on_each_database(database: str) -> None:
    get_user_model().objects.create_user("alice")
    assert connection.vendor == VENDORS[database]


@pytest.mark.postgres(only=True)
@pytest.mark.django_db
def test_only_on_postgres(database: str) -> None:
    assert connection.vendor == "postgresql"


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_other_threads_write_to_the_same_database(database: str) -> None:
    """Twelve threads can write at once.

    On SQLite this needs a database file: a database in memory would fail with "table is locked".
    """
    failures: list[Exception] = []

    def sign_up(name: str) -> None:
        try:
            get_user_model().objects.create_user(name)
        except Exception as error:  # noqa: BLE001 asserted below
            failures.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=sign_up, args=(f"patient{number}",)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert get_user_model().objects.filter(username__startswith="patient").count() == 12


@pytest.mark.django_db
def test_unmarked_tests_stay_on_sqlite_and_see_nothing_of_the_others() -> None:
    assert connection.vendor == "sqlite"
    assert not get_user_model().objects.exists()
