"""Runs a test on another database than the one in the settings."""

import os
import runpy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from asgiref.local import Local
from django.db import connections

from payments_site.demo.site import ROOT


def site_database(url: str) -> dict[str, Any]:
    """Return DATABASES["default"], with its OPTIONS, as settings.py makes it for the DATABASE_URL `url`."""
    with patch.dict(os.environ, DATABASE_URL=url):
        databases = runpy.run_path(str(ROOT / "payments_site" / "settings.py"))["DATABASES"]
    configured: dict[str, Any] = connections.configure_settings(databases)["default"]
    return configured


def deletions(style: object, tables: list[str], **options: bool) -> list[str]:
    """Return the SQL that empties these tables of PostgreSQL, to replace Django's TRUNCATE after a test.

    Deleting a test's few rows is many times faster, because TRUNCATE makes new files for each table and index. As
    TRUNCATE does, the SQL ignores foreign keys and triggers.
    """
    return ["SET LOCAL session_replication_role = replica", *(f'DELETE FROM "{table}"' for table in tables)]  # noqa: S608


@contextmanager
def default_database(url: str) -> Iterator[None]:
    """Make the database at `url` the default inside the block, even in threads that are connected to another one."""
    from payments.views import health

    handler: Any = connections
    health._probes.submit(int).result(30)  # wait for an earlier test's /readyz to end its transaction
    settings, opened = handler.settings["default"], handler._connections
    handler.settings["default"] = site_database(url)
    handler._connections = Local(handler.thread_critical)
    connection: Any = connections["default"]
    if connection.vendor == "postgresql":
        connection.ops.sql_flush = deletions
    try:
        yield
    finally:
        connection.close()
        if connection.vendor == "postgresql":
            connection.close_pool()
        handler.settings["default"], handler._connections = settings, opened
