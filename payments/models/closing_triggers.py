"""Triggers that keep everybody, also SQL and other programs, from changing sealed closings and the entries in them."""

from typing import Any, NamedTuple

from django.apps.registry import apps as installed_apps
from django.db import connections

PREFIX = "clinic_sealed_"
APP = "clinic_payments"
ENTRY = ("closing_id", "payment_id", "stripe_id", "kind", "status", "amount", "currency", "created", "actor_id")


class Trigger(NamedTuple):
    """An event, the model of its table, and the condition, in PostgreSQL's SQL, on which the statement is refused."""

    event: str
    model: str
    condition: str = ""


TRIGGERS = {
    f"{PREFIX}closing_changed": Trigger("UPDATE", "Closing"),
    f"{PREFIX}closing_deleted": Trigger("DELETE", "Closing"),
    f"{PREFIX}head_changed": Trigger("UPDATE", "ClosingHead", "NEW.number IS DISTINCT FROM OLD.number + 1"),
    f"{PREFIX}entry_changed": Trigger(
        f"UPDATE OF {', '.join(ENTRY)}",
        "Fact",
        f"OLD.closing_id IS NOT NULL AND ({' OR '.join(f'NEW.{name} IS DISTINCT FROM OLD.{name}' for name in ENTRY)})",
    ),
    f"{PREFIX}entry_deleted": Trigger("DELETE", "Fact", "OLD.closing_id IS NOT NULL"),
    f"{PREFIX}online_changed": Trigger("UPDATE", "OnlineEntry"),
    f"{PREFIX}online_deleted": Trigger("DELETE", "OnlineEntry"),
}
REFUSAL = "sealed closings are never changed"
POSTGRES_FUNCTION = f"""
CREATE OR REPLACE FUNCTION {PREFIX}refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION '{REFUSAL}'; END $$
"""
POSTGRES_TRIGGER = f"""
CREATE TRIGGER {{name}} BEFORE {{event}} ON {{table}} FOR EACH ROW {{when}} EXECUTE FUNCTION {PREFIX}refuse()
"""
SQLITE_TRIGGER = f"""
CREATE TRIGGER {{name}} BEFORE {{event}} ON {{table}} FOR EACH ROW {{when}}
BEGIN SELECT RAISE(ABORT, '{REFUSAL}'); END
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
    """Receive post_migrate: create the triggers that are missing.

    This isn't done in a migration, because SQLite loses a table's triggers whenever a migration changes its columns.
    Do nothing while a table is missing, as when only other apps were migrated.
    """
    try:
        tables = {each.model: apps.get_model(APP, each.model)._meta.db_table for each in TRIGGERS.values()}
    except LookupError:
        return
    connection = connections[using]
    if not set(tables.values()) <= set(connection.introspection.table_names()):
        return
    postgres = connection.vendor == "postgresql"
    with connection.cursor() as cursor:
        if postgres:
            cursor.execute(POSTGRES_FUNCTION)
        for name in sorted(missing_triggers(connection)):
            event, model, condition = TRIGGERS[name]
            when = f"WHEN ({condition})" if condition else ""
            text = (POSTGRES_TRIGGER if postgres else SQLITE_TRIGGER).format(
                name=name, event=event, table=tables[model], when=when
            )
            cursor.execute(text if postgres else text.replace("IS DISTINCT FROM", "IS NOT"))
