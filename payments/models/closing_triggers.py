"""Triggers that keep everybody, also SQL and other programs, from changing sealed closings and the entries in them."""

from typing import Any

from django.apps.registry import apps as installed_apps
from django.db import connections

from people import triggers
from people.triggers import Trigger

PREFIX = "clinic_sealed_"
CLOSING, HEAD, FACT, ONLINE = (f"clinic_payments.{name}" for name in ("Closing", "ClosingHead", "Fact", "OnlineEntry"))
ENTRY = ("closing_id", "payment_id", "stripe_id", "kind", "status", "amount", "currency", "created", "actor_id")

TRIGGERS = {
    f"{PREFIX}closing_changed": Trigger("UPDATE", CLOSING),
    f"{PREFIX}closing_deleted": Trigger("DELETE", CLOSING),
    f"{PREFIX}head_changed": Trigger("UPDATE", HEAD, "NEW.number IS DISTINCT FROM OLD.number + 1"),
    f"{PREFIX}entry_changed": Trigger(
        f"UPDATE OF {', '.join(ENTRY)}",
        FACT,
        f"OLD.closing_id IS NOT NULL AND ({' OR '.join(f'NEW.{name} IS DISTINCT FROM OLD.{name}' for name in ENTRY)})",
    ),
    f"{PREFIX}entry_deleted": Trigger("DELETE", FACT, "OLD.closing_id IS NOT NULL"),
    f"{PREFIX}online_changed": Trigger("UPDATE", ONLINE),
    f"{PREFIX}online_deleted": Trigger("DELETE", ONLINE),
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
    return triggers.missing(connection, PREFIX, TRIGGERS)


def prepare_triggers(using: str, apps: Any = installed_apps, **kwargs: Any) -> None:
    """Receive post_migrate: create the triggers that are missing.

    Do nothing while a table is missing, as when only other apps were migrated.
    """
    connection = connections[using]
    tables = triggers.tables_of(connection, apps, {each.model for each in TRIGGERS.values()})
    if tables is None:
        return
    text = SQLITE_TRIGGER
    if connection.vendor == "postgresql":
        text = POSTGRES_TRIGGER
        with connection.cursor() as cursor:
            cursor.execute(POSTGRES_FUNCTION)
    wanted = {name: TRIGGERS[name] for name in missing_triggers(connection)}
    triggers.create(connection, wanted, tables, text)
