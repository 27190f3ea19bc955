"""Numbers the changes that may end somebody's access, so that open pages are checked only after such a change.

Access ends when a login session is deleted, or when an account is deleted, deactivated, or given another password or
another right of staff. Triggers in the database note this, because nothing bypasses them. A session that expires
changes no row; those who use this module keep its expiry date.
"""

from typing import Any

from django.apps.registry import apps as installed_apps
from django.conf import settings
from django.db import connections

from . import triggers
from .triggers import Trigger

PREFIX = "clinic_access_"
VERSION = "clinic_people.AccessVersion"
TRIGGERS = {
    f"{PREFIX}session_ended": Trigger("DELETE", "sessions.Session"),
    f"{PREFIX}person_deleted": Trigger("DELETE", settings.AUTH_USER_MODEL),
    f"{PREFIX}person_changed": Trigger(
        "UPDATE OF password, is_active, is_staff",
        settings.AUTH_USER_MODEL,
        "OLD.password <> NEW.password OR OLD.is_active <> NEW.is_active OR OLD.is_staff <> NEW.is_staff",
    ),
}

# PostgreSQL's triggers run at the commit, so that the version's row is a transaction's last lock and is held briefly.
# The number is the transaction's id, so that a transaction that changes many people writes it only once.
POSTGRES_FUNCTION = """
CREATE OR REPLACE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE {version} SET number = txid_current() WHERE number <> txid_current();
    RETURN NULL;
END $$
"""
POSTGRES_TRIGGER = """
CREATE CONSTRAINT TRIGGER {name} AFTER {event} ON {table} DEFERRABLE INITIALLY DEFERRED
FOR EACH ROW {when} EXECUTE FUNCTION {function}()
"""
SQLITE_TRIGGER = """
CREATE TRIGGER {name} AFTER {event} ON {table} FOR EACH ROW {when}
BEGIN UPDATE {version} SET number = number + 1; END
"""


def missing_triggers(connection: Any) -> set[str]:
    """Return the names of the triggers that the database lacks."""
    return triggers.missing(connection, PREFIX, TRIGGERS)


def prepare_triggers(using: str, apps: Any = installed_apps, **kwargs: Any) -> None:
    """Receive post_migrate: create the triggers that are missing, and the version's row.

    Do nothing while a table is missing, as when only other apps were migrated.
    """
    connection = connections[using]
    tables = triggers.tables_of(connection, apps, {VERSION, *(each.model for each in TRIGGERS.values())})
    if tables is None:
        return
    apps.get_model(VERSION)._base_manager.using(using).get_or_create(pk=1)
    names = {"function": f"{PREFIX}changed", "version": tables[VERSION]}
    text = SQLITE_TRIGGER
    if connection.vendor == "postgresql":
        text = POSTGRES_TRIGGER
        with connection.cursor() as cursor:
            cursor.execute(POSTGRES_FUNCTION.format(**names))
    wanted = {name: TRIGGERS[name] for name in missing_triggers(connection)}
    triggers.create(connection, wanted, tables, text, **names)
