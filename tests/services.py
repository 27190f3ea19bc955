"""Starts a private PostgreSQL and Redis for tests, or uses servers named by TEST_DATABASE_URL and TEST_REDIS_URL."""

import os
import secrets
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import psycopg
from psycopg import sql

from payments_site.demo.process import Process, free_port
from payments_site.demo.services import PostgresServer, RedisServer

Server = TypeVar("Server", bound=Process)


@dataclass
class Service:
    """A server for tests. `process` is None for a server named by TEST_*_URL, because tests must not kill that one."""

    url: str
    process: Process | None = None


class Postgres(Service):
    def create_database(self, template: str = "template1", name: str = "") -> str:
        """Copy the database `template`, which must have no open connections, and return the new database's name.

        Without `name`, the name is random.
        """
        name = name or f"test_{secrets.token_hex(6)}"
        self._execute("CREATE DATABASE {} TEMPLATE {}", name, template)
        return name

    def drop_database(self, name: str) -> None:
        self._execute("DROP DATABASE IF EXISTS {} WITH (FORCE)", name)

    def database_url(self, name: str) -> str:
        return self.url.rsplit("/", 1)[0] + f"/{name}"

    def _execute(self, statement: str, *names: str) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))


@contextmanager
def running(server: Server) -> Iterator[Server]:
    server.start()
    try:
        yield server
    finally:
        server.stop()


@contextmanager
def redis() -> Iterator[Service]:
    if url := os.environ.get("TEST_REDIS_URL"):
        yield Service(url)
        return
    with (
        tempfile.TemporaryDirectory(prefix="redis-") as folder,
        running(RedisServer(Path(folder), free_port())) as server,
    ):
        yield Service(server.url, server)


@contextmanager
def postgres(*, durable: bool = False, files: Path | None = None) -> Iterator[Postgres]:
    """Yield a new PostgreSQL, or the one that TEST_DATABASE_URL names.

    If `durable`, the new server flushes each commit to disk, as in production. `files` are those of another server,
    which `stop_and_keep` has kept; the new server begins with its databases.
    """
    if url := os.environ.get("TEST_DATABASE_URL"):
        yield Postgres(url)
        return
    with tempfile.TemporaryDirectory(prefix="postgres-") as folder:
        if files:
            subprocess.run(["cp", "-a", files, f"{folder}/data"], check=True)
        with running(PostgresServer(Path(folder), free_port(), durable=durable)) as server:
            yield Postgres(server.url, server)


def stop_and_keep(server: Process, files: Path) -> None:
    """Stop a PostgreSQL and copy its files, with their owner, to the new folder `files`."""
    server.stop(60)
    subprocess.run(["cp", "-a", Path(server.options["cwd"], "data"), files], check=True)
