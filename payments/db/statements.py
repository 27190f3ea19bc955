"""Runs SQL whose text never changes, several statements in one round trip, on any number of models' rows at once.

PostgreSQL plans each text once for a connection; planning cost more than executing. The ORM would compile its queries
and have them planned every time. Values are converted as the ORM does it, but no signals are sent.

The SQL is written for PostgreSQL. SQLite runs the same statements, spelled for it, one after the other.
"""

import functools
import json
import re
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
from django.db import DEFAULT_DB_ALIAS, connection, connections, models

from . import pipeline
from .pipeline import Rows

PLAIN = (models.CharField, models.TextField, models.IntegerField, models.BooleanField)
PLAIN_IN_POSTGRESQL = (*PLAIN, models.UUIDField, models.DateField, models.JSONField)  # as orjson writes them
Convert = Callable[[Any], Any]
JSON_ROWS = re.compile(r"json_to_recordset\((%\(\w+\)s)\)\s+AS r\(((?:[^()]|\([^()]*\))*)\)")
FOR_SQLITE = (  # patterns of PostgreSQL's SQL, and what SQLite has instead
    (re.compile(r" FOR (NO KEY )?UPDATE\b"), ""),
    (re.compile(r" = ANY\(ARRAY\("), " IN (SELECT * FROM ("),
    (re.compile(r" = ANY\((%\(\w+\)s)\)"), r" IN (SELECT value FROM json_each(\1))"),
)


@dataclass(frozen=True, slots=True)
class Statement:
    """SQL with named parameters: `%(ids)s`. A parameter that is a list stands in `= ANY(%(ids)s)`.

    In `sql`, `{columns}` stands for all columns of `model`, and the rows that the statement returns become instances of
    this model; without a model they stay tuples. A statement that is `idle` has no rows to write, and isn't sent.
    """

    sql: str
    params: dict[str, Any] = field(default_factory=dict)
    model: type[models.Model] | None = None
    idle: bool = False


def run(*statements: Statement, commit: bool = False, meanwhile: Callable[[], object] | None = None) -> list[list[Any]]:
    """Send the statements to the database in one round trip, and return the rows that each of them returns.

    With `commit`, the transaction is committed in the same round trip, unless it is a part of a larger one; while
    PostgreSQL commits, `meanwhile` is called. Call this function inside `transaction.atomic()`: if one statement fails,
    those after it aren't executed, and the error is raised.
    """
    busy, database = [statement for statement in statements if not statement.idle], _database()
    if database.vendor == "postgresql":
        commit = commit and len(database.atomic_blocks) == 1
        results = _run_in_one_message(busy, database, commit=commit, meanwhile=meanwhile if commit else None)
    else:
        results = [_run_alone(statement, database) for statement in busy]
    found = iter(results)
    return [[] if statement.idle else _read(statement, next(found), database) for statement in statements]


def _database() -> Any:
    """Return this thread's database connection. Django's `connection` would look it up at each use, slowly."""
    return connections[DEFAULT_DB_ALIAS]


def _run_in_one_message(
    statements: Sequence[Statement], database: Any, *, commit: bool, meanwhile: Callable[[], object] | None
) -> list[Rows]:
    database.ensure_connection()
    texts, started = [_spelled(each.sql, each.model, "postgresql") for each in statements], time.monotonic()
    with database.wrap_database_errors:
        queries = [(text, each.params) for text, each in zip(texts, statements, strict=True)]
        message = pipeline.Message(database.connection, queries, commit=commit)
        try:
            if meanwhile:
                meanwhile()
        finally:
            results = message.rows()
    if database.queries_logged:  # as Django logs its own queries: one entry for each message
        sql = ";\n".join([*texts, *(["COMMIT"] if commit else [])])
        database.queries_log.append({"sql": sql, "time": f"{time.monotonic() - started:.3f}"})
    return results


def _run_alone(statement: Statement, database: Any) -> Rows:
    with database.cursor() as cursor:
        sql = _spelled(statement.sql, statement.model, database.vendor)
        cursor.execute(sql, {name: _for_sqlite(value) for name, value in statement.params.items()})
        return cursor.fetchall() if cursor.description else []


def _for_sqlite(value: Any) -> Any:
    if isinstance(value, list):
        return json.dumps([each.hex if isinstance(each, uuid.UUID) else each for each in value])
    return value.decode() if isinstance(value, bytes) else value


def insert(rows: Iterable[models.Model]) -> Statement:
    """Return the statement that inserts these instances of one model. They don't get their primary keys."""
    rows, database = list(rows), _database()
    if not rows:
        return Statement("", idle=True)
    return Statement(_insertion(type(rows[0]), database.vendor), {"rows": _as_json(rows, database)})


def update(rows: Iterable[models.Model], names: tuple[str, ...]) -> Statement:
    """Return the statement that writes the fields `names` of these instances of one model.

    Their database rows must exist, and this transaction must have locked them.
    """
    rows, database = list(rows), _database()
    if not rows:
        return Statement("", idle=True)
    params = {"rows": _as_json(rows, database, names), "keys": [row.pk for row in rows]}
    return Statement(_change(type(rows[0]), names, database.vendor), params)


def _as_json(rows: Sequence[models.Model], database: Any, names: tuple[str, ...] = ()) -> bytes:
    """Return a JSON list with an object for each instance, which maps columns to values as the ORM stores them.

    With `names`, the object holds the primary key and these fields; without, all columns of a new row.
    """
    written = _written(type(rows[0]), names, database.vendor)
    values = [
        {name: _stored(each, row, database, not names) if each else getattr(row, own) for name, each, own in written}
        for row in rows
    ]
    return orjson.dumps(values, default=str)


@functools.cache
def _written(model: type[models.Model], names: tuple[str, ...], vendor: str) -> list[tuple[str, Any, str]]:
    """Return (column, field, attribute) for each field to write; `field` is None if its values need no conversion."""
    fields = _updatable(model, names) if names else _insertable(model)
    return [(str(each.column), None if _is_plain(each, vendor) else each, each.attname) for each in fields]


def _is_plain(each: Any, vendor: str) -> bool:
    """Return whether JSON has the field's value as the attribute holds it, so that nothing has to be converted."""
    each = each.target_field if isinstance(each, models.ForeignKey) else each
    if isinstance(each, models.DateField):
        set_here = each.auto_now or each.auto_now_add
    else:
        set_here = type(each).pre_save is not models.Field.pre_save
    return not set_here and isinstance(each, PLAIN_IN_POSTGRESQL if vendor == "postgresql" else PLAIN)


def _stored(each: Any, row: models.Model, database: Any, add: bool) -> Any:
    value = each.pre_save(row, add)
    value = value if value is None else each.get_db_prep_save(value, database)
    return getattr(value, "obj", value)  # psycopg's Json wrapper


def _typed(names: Iterable[str], *fields: Any) -> str:
    """Return SQL column definitions for json_to_recordset: each of `names` with its field's type."""
    return ", ".join(f"{_quoted(name)} {_type(each)}" for name, each in zip(names, fields, strict=True))


def _type(each: Any) -> str:
    return str(each.rel_db_type(connection) if each.primary_key else each.db_type(connection))


def _quoted(name: str) -> str:
    return str(connection.ops.quote_name(name))


@functools.cache
def _spelled(sql: str, model: type[models.Model] | None, vendor: str) -> str:
    """Return the SQL with the model's columns filled in, as this kind of database spells it."""
    sql = sql.replace("{columns}", ", ".join(_columns(model))) if model else sql
    if vendor == "postgresql":
        return sql
    for pattern, instead in FOR_SQLITE:
        sql = pattern.sub(instead, sql)
    return JSON_ROWS.sub(_json_each, sql)


def _json_each(found: re.Match[str]) -> str:
    names = re.findall(r'(?:^|, )("?\w+"?) ', found[2])
    values = ", ".join(f"value->>'{name.strip(chr(34))}' AS {name}" for name in names)
    return f"(SELECT {values} FROM json_each({found[1]})) AS r"


def _columns(model: type[models.Model]) -> list[str]:
    table = _quoted(model._meta.db_table)
    return [f"{table}.{_quoted(str(each.column))}" for each in model._meta.concrete_fields]


def _read(statement: Statement, rows: Rows, database: Any) -> list[Any]:
    """Return the rows as instances of the statement's model or, if it has none, as they are."""
    if statement.model is None or not rows:
        return rows
    names, converts = _reading(statement.model, database.vendor)
    return [
        statement.model.from_db(
            database.alias,
            names,
            [convert(value) if convert else value for convert, value in zip(converts, row, strict=True)],
        )
        for row in rows
    ]


@functools.cache
def _reading(model: type[models.Model], _vendor: str) -> tuple[list[str], list[Convert | None]]:
    """Return the names of the model's attributes, and the converters of their values, in the order of its columns.

    `_vendor` is not used, but makes the cache keep one result for each kind of database.
    """
    fields = model._meta.concrete_fields
    return [each.attname for each in fields], [*map(_converter, fields)]


def _converter(each: Any) -> Convert | None:
    """Return a function that turns what the driver returns for this field into the attribute's value, or None.

    None means that the driver's value needs no conversion.
    """
    column = each.get_col(each.model._meta.db_table)
    steps = [*connection.ops.get_db_converters(column), *column.get_db_converters(connection)]
    if not steps:
        return None
    return lambda value: functools.reduce(lambda so_far, step: step(so_far, column, connection), steps, value)


@functools.cache
def _insertable(model: type[models.Model]) -> list[Any]:
    return [each for each in model._meta.local_concrete_fields if not each.primary_key]


@functools.cache
def _updatable(model: type[models.Model], names: tuple[str, ...]) -> list[Any]:
    return [model._meta.pk, *map(model._meta.get_field, names)]


@functools.cache
def _insertion(model: type[models.Model], _vendor: str) -> str:
    fields = _insertable(model)
    columns = [str(each.column) for each in fields]
    names, table = ", ".join(map(_quoted, columns)), _quoted(model._meta.db_table)
    rows = f"json_to_recordset(%(rows)s) AS r({_typed(columns, *fields)})"
    return f"INSERT INTO {table} ({names}) SELECT {names} FROM {rows}"


@functools.cache
def _change(model: type[models.Model], names: tuple[str, ...], vendor: str) -> str:
    """Return the SQL that writes the fields `names`. PostgreSQL finds the rows by an array, never by a join.

    SQLite would look through all of the JSON again for each key of the array.
    """
    fields = _updatable(model, names)
    columns = [str(each.column) for each in fields]
    key, *others = map(_quoted, columns)
    table, places = _quoted(model._meta.db_table), ", ".join(f"{column} = r.{column}" for column in others)
    rows = f"json_to_recordset(%(rows)s) AS r({_typed(columns, *fields)})"
    by_array = f" AND {table}.{key} = ANY(%(keys)s)" if vendor == "postgresql" else ""
    return f"UPDATE {table} SET {places} FROM {rows} WHERE {table}.{key} = r.{key}{by_array}"
