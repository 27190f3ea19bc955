"""Numbers the changes that may end somebody's access, so that open pages are checked only after such a change.

Access ends when a login session is deleted, or when an account is deleted, deactivated, or given another password or
another right of staff. Triggers in the database note this, and not Django's signals, because nothing bypasses a
trigger, but QuerySet.update, SQL and other programs send no signals. A session that expires changes no row; those who
use this module keep its expiry date.
"""

from typing import Any

from django.apps.registry import apps as installed_apps
from django.db import connections, models

PREFIX = "clinic_access_"
# By trigger: the statement, the model of its table, and the condition for a changed row.
TRIGGERS = {
    f"{PREFIX}session_ended": ("DELETE", "sessions.Session", ""),
    f"{PREFIX}person_deleted": ("DELETE", "clinic_accounts.User", ""),
    f"{PREFIX}person_changed": (
        "UPDATE OF password, is_active, is_staff",
        "clinic_accounts.User",
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
    if connection.vendor == "postgresql":
        query = "SELECT tgname FROM pg_trigger WHERE tgname LIKE %s AND pg_table_is_visible(tgrelid)"
    else:
        query = "SELECT name FROM sqlite_master WHERE type = 'trigger' AND name LIKE %s"
    with connection.cursor() as cursor:
        cursor.execute(query, [f"{PREFIX}%"])
        return TRIGGERS.keys() - {name for (name,) in cursor.fetchall()}


def prepare_triggers(using: str, apps: Any = installed_apps, **kwargs: Any) -> None:
    """Receive post_migrate: create the triggers that are missing, and the version's row.

    This isn't done in a migration, because SQLite loses a table's triggers whenever a migration changes its columns.
    Do nothing while a table is missing, as when only other apps were migrated.
    """
    try:
        version: type[models.Model] = apps.get_model("clinic_accounts", "AccessVersion")
        tables = {label: apps.get_model(label)._meta.db_table for _event, label, _condition in TRIGGERS.values()}
    except LookupError:
        return
    connection = connections[using]
    if not {*tables.values(), version._meta.db_table} <= set(connection.introspection.table_names()):
        return
    version._base_manager.using(using).get_or_create(pk=1)
    names = {"function": f"{PREFIX}changed", "version": version._meta.db_table}
    trigger = SQLITE_TRIGGER
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            trigger = POSTGRES_TRIGGER
            cursor.execute(POSTGRES_FUNCTION.format(**names))
        for name in sorted(missing_triggers(connection)):
            event, label, condition = TRIGGERS[name]
            when = f"WHEN ({condition})" if condition else ""
            cursor.execute(trigger.format(name=name, event=event, table=tables[label], when=when, **names))
