"""Database triggers. They see all changes, also those of QuerySet.update, SQL and other programs, which send no signal.

They are created after each `migrate` and not in a migration, because SQLite loses a table's triggers whenever a
migration changes its columns.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Any, NamedTuple


class Trigger(NamedTuple):
    """What starts a trigger: an event on the table of the model with the label `model`.

    `condition`, if there is one, is a condition for the changed row, in PostgreSQL's SQL.
    """

    event: str
    model: str
    condition: str = ""


def missing(connection: Any, prefix: str, wanted: Collection[str]) -> set[str]:
    """Return those of the names `wanted` that no trigger in the database has. All of them begin with `prefix`."""
    if connection.vendor == "postgresql":
        query = "SELECT tgname FROM pg_trigger WHERE tgname LIKE %s AND pg_table_is_visible(tgrelid)"
    else:
        query = "SELECT name FROM sqlite_master WHERE type = 'trigger' AND name LIKE %s"
    with connection.cursor() as cursor:
        cursor.execute(query, [f"{prefix}%"])
        return set(wanted) - {name for (name,) in cursor.fetchall()}


def tables_of(connection: Any, apps: Any, labels: Iterable[str]) -> dict[str, str] | None:
    """Return the tables of the models with these labels; None while one is missing, as in the middle of a migration."""
    try:
        tables = {label: apps.get_model(label)._meta.db_table for label in labels}
    except LookupError:
        return None
    return tables if set(tables.values()) <= set(connection.introspection.table_names()) else None


def create(
    connection: Any, triggers: Mapping[str, Trigger], tables: Mapping[str, str], text: str, **values: str
) -> None:
    """Create these triggers by name. `text` is the SQL of one, with the places {name}, {event}, {table} and {when}.

    `values` are for further places in the text.
    """
    with connection.cursor() as cursor:
        for name, (event, model, condition) in sorted(triggers.items()):
            when = f"WHEN ({condition})" if condition else ""
            if connection.vendor == "sqlite":  # old versions don't know the standard's operator
                when = when.replace("IS DISTINCT FROM", "IS NOT")
            table = connection.ops.quote_name(tables[model])
            cursor.execute(text.format(name=name, event=event, table=table, when=when, **values))
