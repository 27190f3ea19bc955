"""Sends several prepared statements to PostgreSQL in one message, and reads their rows.

psycopg's own pipeline sends each statement in a message of its own and takes 0.1 ms for each, which is a third of the
time of a webhook (`./run bench costs`). So this module calls psycopg's wrapper of libpq, which is a documented API:
https://www.psycopg.org/psycopg3/docs/api/pq.html and https://www.postgresql.org/docs/current/libpq-pipeline-mode.html
"""

import functools
import itertools
import re
import uuid
from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary

import psycopg
from psycopg import abc, pq
from psycopg.adapt import Transformer
from psycopg.waiting import Wait

Connection = psycopg.Connection[Any]
Query = tuple[str, dict[str, Any]]  # SQL with parameters such as `%(ids)s`, and their values
Rows = list[tuple[Any, ...]]
Names = dict[str, bytes]  # the name under which a connection has prepared each text

PARAMETER = re.compile(r"%\((\w+)\)s")
_numbers = itertools.count()  # no name is used twice, even if preparing a statement has failed
_prepared: "WeakKeyDictionary[Connection, Names]" = WeakKeyDictionary()


class Message:
    """Statements that were sent to PostgreSQL in one message, after BEGIN if psycopg would send it first.

    With `commit`, COMMIT was sent with them. If a statement fails, those after it aren't executed, nor is COMMIT. The
    connection can't be used for anything else until `rows` has returned.
    """

    def __init__(self, connection: Connection, queries: Sequence[Query], *, commit: bool) -> None:
        self._connection, self._names = connection, _prepared.setdefault(connection, {})
        self._new: Names = {}  # prepared by this message
        self._kept: list[bool] = []  # for each result, in the order in which they come: whether `rows` returns its rows
        # First of all, because an error while parameters are converted must not leave half a message.
        bound = [(text, [_literal(values[name]) for name in _numbered(text)[1]]) for text, values in queries]
        libpq = connection.pgconn
        libpq.enter_pipeline_mode()
        if not connection.autocommit and libpq.transaction_status == pq.TransactionStatus.IDLE:
            self._send_command(b"BEGIN")
        for text, parameters in bound:
            libpq.send_query_prepared(self._names.get(text) or self._prepare(text), parameters)
            self._kept.append(True)
        if commit:
            self._send_command(b"COMMIT")
        libpq.pipeline_sync()
        libpq.flush()  # as much as fits now; `rows` sends the rest

    def _send_command(self, command: bytes) -> None:
        self._connection.pgconn.send_query_params(command, None)
        self._kept.append(False)

    def _prepare(self, text: str) -> bytes:
        if text not in self._new:
            self._new[text] = b"payments_%d" % next(_numbers)
            self._connection.pgconn.send_prepare(self._new[text], _numbered(text)[0])
            self._kept.append(False)
        return self._new[text]

    def rows(self) -> list[Rows]:
        """Wait for PostgreSQL, and return the rows of each statement, or raise the error of the one that failed."""
        try:
            results = self._connection.wait(_results(self._connection.pgconn, len(self._kept)))
        except BaseException:
            self._connection.close()  # otherwise the next statement would take late rows for its own
            raise
        self._connection.pgconn.exit_pipeline_mode()
        for result in results:
            if result.status == pq.ExecStatus.FATAL_ERROR:
                raise psycopg.errors.error_from_result(result)
        self._names.update(self._new)
        reader: abc.Transformer = Transformer(self._connection)
        return [_read(reader, result) for result, kept in zip(results, self._kept, strict=True) if kept]


def _results(libpq: pq.abc.PGconn, count: int) -> abc.PQGen[list[pq.abc.PGresult]]:
    """Send the rest of the message, and return its `count` results. `Connection.wait` runs this generator."""
    while libpq.flush():
        yield Wait.RW
        libpq.consume_input()
    results: list[pq.abc.PGresult] = []
    while len(results) <= count:
        while libpq.is_busy():
            while not (yield Wait.R):
                continue
            libpq.consume_input()
        if result := libpq.get_result():  # None separates the statements
            results.append(result)
        elif libpq.status == pq.ConnStatus.BAD:
            raise psycopg.OperationalError("the connection was lost")
    return results[:-1]  # the last one is the end


def _read(reader: abc.Transformer, result: pq.abc.PGresult) -> Rows:
    if not result.ntuples:
        return []
    reader.set_pgresult(result)
    return reader.load_rows(0, result.ntuples, tuple)


@functools.cache
def _numbered(text: str) -> tuple[bytes, list[str]]:
    """Return the SQL with numbered parameters such as $1, and the names of the parameters in order."""
    order = list(dict.fromkeys(PARAMETER.findall(text)))
    return PARAMETER.sub(lambda found: f"${order.index(found[1]) + 1}", text).encode(), order


def _literal(value: bytes | str | Sequence[str | int | uuid.UUID]) -> bytes:
    """Return a parameter in PostgreSQL's text format. Bytes are JSON already; a list becomes an array: {"a","b"}."""
    if isinstance(value, bytes):
        return value
    if not isinstance(value, str):
        quoted = (str(each).replace("\\", r"\\").replace('"', r"\"") for each in value)
        value = "{" + ",".join(f'"{each}"' for each in quoted) + "}"
    if "\0" in value:  # libpq would take the text only up to there
        raise psycopg.DataError("PostgreSQL's text can't contain NUL (0x00)")
    return value.encode()
