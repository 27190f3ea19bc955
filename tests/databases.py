"""Runs a test on another database than the one in the settings, and restores a database after a test."""

import functools
import os
import runpy
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any
from unittest.mock import patch

from asgiref.local import Local
from django.db import connection, connections, transaction

from payments_site.demo.site import ROOT


@functools.cache
def site_database(url: str) -> dict[str, Any]:
    """Return DATABASES["default"], with its OPTIONS, as settings.py makes it for the DATABASE_URL `url`."""
    with patch.dict(os.environ, DATABASE_URL=url):
        databases = runpy.run_path(str(ROOT / "payments_site" / "settings.py"))["DATABASES"]
    configured: dict[str, Any] = connections.configure_settings(databases)["default"]
    return configured


def keep_rows() -> None:
    """Copy all rows of the default database, so that `put_rows_back` can restore them."""
    if connection.vendor == "sqlite":
        _copy_of_file().unlink(missing_ok=True)
        connection.cursor().execute("VACUUM INTO %s", [str(_copy_of_file())])
        return
    with connection.cursor() as cursor:
        cursor.execute("CREATE SCHEMA kept")
        for table in _tables():
            cursor.execute(f'SELECT EXISTS (SELECT FROM "{table}")')  # noqa: S608
            if cursor.fetchone() == (True,):
                cursor.execute(f'CREATE TABLE kept."{table}" AS TABLE "{table}"')


def put_rows_back(case: object) -> None:
    """Restore the rows that `keep_rows` copied; used after tests with transactions instead of Django's flush.

    Flush makes the first rows again with all `post_migrate` receivers, and TRUNCATE makes new files for each table and
    index of PostgreSQL; both take many times longer.
    """
    connection.ensure_connection()
    if connection.vendor == "sqlite":
        with closing(sqlite3.connect(_copy_of_file())) as copy:
            copy.backup(connection.connection)
        return
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'kept'")
        kept = [name for (name,) in cursor.fetchall()]
        cursor.execute("SET LOCAL session_replication_role = replica")  # ignore foreign keys and triggers
        cursor.execute("".join(f'DELETE FROM "{each}";' for each in _tables()))  # noqa: S608
        cursor.execute("".join(f'INSERT INTO "{each}" TABLE kept."{each}";' for each in kept))


@functools.cache
def _tables() -> list[str]:
    return sorted(connection.introspection.django_table_names(only_existing=True, include_views=False))


def _copy_of_file() -> Path:
    return Path(f"{connection.settings_dict['NAME']}.kept")


@contextmanager
def default_database(url: str) -> Iterator[None]:
    """Make the database at `url` the default inside the block, even in threads that are connected to another one."""
    from payments.views import health

    handler: Any = connections
    health._probes.submit(int).result(30)  # wait for an earlier test's /readyz to end its transaction
    settings, opened = handler.settings["default"], handler._connections
    handler.settings["default"] = deepcopy(site_database(url))
    handler._connections = Local(handler.thread_critical)
    try:
        yield
    finally:
        opened_here: Any = handler["default"]
        opened_here.close()
        if opened_here.vendor == "postgresql":
            opened_here.close_pool()
        handler.settings["default"], handler._connections = settings, opened
