"""Runs the webhook's queries as cached SQL, because compiling them with the ORM took about half of the webhook's time.

Instances are read and written as the ORM does it, with the models' columns, defaults and conversions, but no signals
are sent. On PostgreSQL, statements can be batched into one round trip.
"""

import datetime
import functools
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import Any

from django.db import connection, connections, models

Convert = Callable[[Any], Any]
Reader = Callable[[list[Any]], None]
Plan = Sequence[tuple[type[models.Model], list[str], list[Convert | None]]]


class Together:
    """SQL statements that are sent to PostgreSQL as one message, and run in the order in which they were added."""

    def __init__(self) -> None:
        self._waiting: list[tuple[str, list[Any], Reader | None]] = []

    def add(self, sql: str, params: Iterable[Any], reader: Reader | None = None) -> None:
        self._waiting.append((sql, list(params), reader))

    def send(self) -> None:
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return
        statements, params, readers = zip(*waiting, strict=True)
        with connection.cursor() as cursor:
            cursor.execute("; ".join(statements), [*chain(*params)])
            for number, reader in enumerate(readers):
                if number:
                    cursor.nextset()
                if reader:
                    reader(cursor.fetchall())

    def __call__(self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        """Send the collected statements before the ORM's statement `sql` runs, so that statements keep their order.

        Django calls this for each of the ORM's statements, because the batch is installed as an execute wrapper.
        """
        self.send()
        return execute(sql, params, many, context)


@contextmanager
def together() -> Iterator[None]:
    """Collect the inserts and updates made in the `with` block, and send them with the next read or at its end.

    Inserted instances get their primary keys when the batch is sent. On SQLite each statement runs at once, because the
    driver takes one statement at a time and there are no round trips to save.
    """
    if connection.vendor != "postgresql":
        yield
        return
    with connection.execute_wrapper(waiting := Together()):
        yield
        waiting.send()


def flush() -> None:
    """Send the collected statements (the current batch) to the database, if there are any."""
    if waiting := _waiting():
        waiting.send()


def ask(sql: str, params: Iterable[Any], *of: type[models.Model]) -> Callable[[], list[Any]]:
    """Add a query to the batch, and return a function that sends the batch and returns the instances found.

    If there is no batch, the query runs at once. In `sql`, `{columns}` stands for all columns of the models `of`.
    The function returns a list of instances or, for several models, a list of tuples with one instance of each model.
    """
    names, plan = _reading(of, connection.vendor)
    answer: list[Any] = []
    tell(sql.replace("{columns}", names), map(_adapted, params), answer.extend)

    def answered() -> list[Any]:
        flush()
        found = [_instances(plan, iter(row)) for row in answer]
        return [instances[0] for instances in found] if len(of) == 1 else found

    return answered


def read(sql: str, params: Iterable[Any], *of: type[models.Model]) -> list[Any]:
    """Run a query at once and return its list of instances; the arguments are those of `ask`."""
    return ask(sql, params, *of)()


def insert(*rows: models.Model) -> None:
    """Insert instances of one model with one statement. They get their primary keys when the batch is sent."""

    def fill_in(keys: Iterable[tuple[Any]]) -> None:
        for row, (key,) in zip(rows, keys, strict=True):
            row.pk, row._state.adding, row._state.db = key, False, connection.alias

    model = type(rows[0])
    values = chain(*(_prepared(row, _columns(model), add=True) for row in rows))
    tell(_insertion(model, len(rows), connection.vendor), values, fill_in)


def update(row: models.Model, names: Iterable[str]) -> None:
    """Write the fields `names` of the instance `row` to the database.

    Its database row must exist, and this transaction must have locked it.
    """
    if row.pk is None:
        flush()
    fields = tuple(row._meta.get_field(name) for name in names)
    tell(_change(type(row), fields, connection.vendor), [*_prepared(row, fields, add=False), row.pk])


def tell(sql: str, params: Iterable[Any], reader: Reader | None = None) -> None:
    """Add a statement to the current batch, or run it at once if there is none.

    `reader` is called with the list of rows that the statement returns, as tuples.
    """
    waiting = _waiting()
    message = waiting or Together()
    message.add(sql, params, reader)
    if not waiting:
        message.send()


def _waiting() -> Together | None:
    return next((each for each in connection.execute_wrappers if isinstance(each, Together)), None)


def _adapted(value: Any) -> Any:
    """Convert the parameter `value` of a query to what the database driver expects, such as a UUID to text."""
    if isinstance(value, datetime.datetime):
        return connection.ops.adapt_datetimefield_value(value)
    if isinstance(value, uuid.UUID) and not connection.features.has_native_uuid_field:
        return value.hex
    return value


def _prepared(row: models.Model, fields: Iterable[Any], *, add: bool) -> list[Any]:
    database = connections[connection.alias]  # `connection` is a proxy: using it takes as long as preparing a field
    return [field.get_db_prep_save(field.pre_save(row, add), database) for field in fields]


def _instances(plan: Plan, values: Iterator[Any]) -> tuple[Any, ...]:
    return tuple(
        model.from_db(
            connection.alias, names, [convert(next(values)) if convert else next(values) for convert in converts]
        )
        for model, names, converts in plan
    )


@functools.cache
def _reading(of: tuple[type[models.Model], ...], _vendor: str) -> tuple[str, Plan]:
    """Return an SQL list of all columns of the models `of`, and a plan that tells `_instances` how to read such a row.

    The plan has, for each model, the names of its attributes and the converters of their values. `_vendor` is not used,
    but makes the cache keep one result for each kind of database.
    """
    fields = {model: model._meta.concrete_fields for model in of}
    quoted = connection.ops.quote_name
    columns = [f"{quoted(model._meta.db_table)}.{quoted(str(field.column))}" for model in of for field in fields[model]]
    plan = [(model, [field.attname for field in fields[model]], [*map(_converter, fields[model])]) for model in of]
    return ", ".join(columns), plan


def _converter(field: Any) -> Convert | None:
    """Return a function that turns what the driver returns for `field` into the attribute's value, or None.

    None means that the driver's value needs no conversion.
    """
    column = field.get_col(field.model._meta.db_table)
    steps = [*connection.ops.get_db_converters(column), *column.get_db_converters(connection)]
    if not steps:
        return None
    return lambda value: functools.reduce(lambda so_far, step: step(so_far, column, connection), steps, value)


@functools.cache
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
