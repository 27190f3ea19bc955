"""Rows read and written with SQL whose text is kept: compiling it anew was half of what a webhook cost.

As the ORM does it, without Django's signals. Columns, defaults and conversions are the models' own.
"""

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from django.db import connection, models

Convert = Callable[[Any], Any]
Plan = Sequence[tuple[type[models.Model], list[str], list[Convert | None]]]


def read(sql: str, params: Sequence[Any], *of: type[models.Model]) -> list[Any]:
    """The rows that a statement returns, where its {columns} stands for all columns of these models.

    Instances of one model, or tuples of several models' instances.
    """
    names, plan = _reading(of, connection.vendor)
    with connection.cursor() as cursor:
        cursor.execute(sql.replace("{columns}", names), params)
        found = [_instances(plan, iter(row)) for row in cursor.fetchall()]
    return [instances[0] for instances in found] if len(of) == 1 else found


def insert(*rows: models.Model) -> None:
    """New rows of one model, in one statement; their primary keys are filled in."""
    model = type(rows[0])
    values = [_prepared(row, field, add=True) for row in rows for field in _columns(model)]
    with connection.cursor() as cursor:
        cursor.execute(_insertion(model, len(rows), connection.vendor), values)
        keys = [key for (key,) in cursor.fetchall()]
    for row, key in zip(rows, keys, strict=True):
        row.pk, row._state.adding, row._state.db = key, False, connection.alias


def update(row: models.Model, names: Iterable[str]) -> None:
    """Write these fields of a row that is there, and locked."""
    fields = tuple(row._meta.get_field(name) for name in names)
    values = [_prepared(row, field, add=False) for field in fields]
    with connection.cursor() as cursor:
        cursor.execute(_change(type(row), fields, connection.vendor), [*values, row.pk])


def _prepared(row: models.Model, field: Any, *, add: bool) -> Any:
    return field.get_db_prep_save(field.pre_save(row, add), connection)


def _instances(plan: Plan, values: Iterator[Any]) -> tuple[Any, ...]:
    return tuple(
        model.from_db(
            connection.alias, names, [convert(next(values)) if convert else next(values) for convert in converts]
        )
        for model, names, converts in plan
    )


@functools.cache
def _reading(of: tuple[type[models.Model], ...], _vendor: str) -> tuple[str, Plan]:
    """The columns of these models, and of each its attributes and their conversions in the same order."""
    fields = {model: model._meta.concrete_fields for model in of}
    quoted = connection.ops.quote_name
    columns = [f"{quoted(model._meta.db_table)}.{quoted(str(field.column))}" for model in of for field in fields[model]]
    plan = [(model, [field.attname for field in fields[model]], [*map(_converter, fields[model])]) for model in of]
    return ", ".join(columns), plan


def _converter(field: Any) -> Convert | None:
    """From what the driver gives to what the attribute holds; None when that is the same."""
    column = field.get_col(field.model._meta.db_table)
    steps = [*connection.ops.get_db_converters(column), *column.get_db_converters(connection)]
    if not steps:
        return None
    return lambda value: functools.reduce(lambda so_far, step: step(so_far, column, connection), steps, value)


def _columns(model: type[models.Model]) -> Sequence[Any]:
    return [field for field in model._meta.local_concrete_fields if not field.primary_key]


@functools.cache
def _insertion(model: type[models.Model], count: int, _vendor: str) -> str:
    fields, quoted = _columns(model), connection.ops.quote_name
    places = ", ".join(["({})".format(", ".join(["%s"] * len(fields)))] * count)
    names = ", ".join(quoted(field.column) for field in fields)
    table, key = quoted(model._meta.db_table), quoted(_key(model))
    return f"INSERT INTO {table} ({names}) VALUES {places} RETURNING {key}"  # noqa: S608 names of our own


@functools.cache
def _change(model: type[models.Model], fields: tuple[Any, ...], _vendor: str) -> str:
    quoted = connection.ops.quote_name
    places = ", ".join(f"{quoted(field.column)} = %s" for field in fields)
    return f"UPDATE {quoted(model._meta.db_table)} SET {places} WHERE {quoted(_key(model))} = %s"  # noqa: S608


def _key(model: type[models.Model]) -> str:
    return str(model._meta.pk.column)
