"""Copies of the whole database in files, and databases made of such copies.

SQLite is copied by VACUUM INTO, because its newest pages are in another file. PostgreSQL is copied by the pg_dump of
the server's own major version, because a later one writes settings that the server would refuse.
"""

import os
import shutil
import sqlite3
import subprocess
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from django.db import connection

SUFFIXES = {"sqlite": ".sqlite3", "postgresql": ".dump"}  # by Django's name of the database's kind
DEBIAN = Path("/usr/lib/postgresql")  # has a folder for each major version
FRESH_SCHEMA = "DROP SCHEMA public CASCADE; CREATE SCHEMA public AUTHORIZATION pg_database_owner;"


class BackupError(Exception):
    """A copy could not be made or restored; the message says why, and names no row of the database."""


def make(folder: Path) -> Path:
    """Copy the database into a new file in `folder`, which only this user can read, and return the file's path.

    Raises BackupError. Until the copy is complete, its name ends in ".part".
    """
    name = f"payments-{datetime.now(UTC):%Y-%m-%d-%H%M%S}{SUFFIXES[connection.vendor]}"
    target, part = folder / name, folder / f"{name}.part"
    try:
        part.touch(mode=0o600)
        (_copy_sqlite if connection.vendor == "sqlite" else _dump)(part)
        part.replace(target)
    except (OSError, sqlite3.Error) as error:
        raise BackupError(str(error)) from error
    finally:
        part.unlink(missing_ok=True)
    return target


def copies(folder: Path) -> list[Path]:
    """Return the finished copies in `folder`, the oldest first."""
    return sorted(path for suffix in SUFFIXES.values() for path in folder.glob(f"payments-*{suffix}"))


def restore(copy: Path) -> None:
    """Replace the database by this copy. The site has to be stopped meanwhile. Raises BackupError.

    If it fails, the database is as it was.
    """
    if copy.suffix != SUFFIXES[connection.vendor]:
        raise BackupError(f"{copy.name} is no copy of a {connection.display_name} database.")
    if not copy.is_file():
        raise BackupError(f"There is no file {copy}.")
    connection.close()
    try:
        (_replace_sqlite if connection.vendor == "sqlite" else _load)(copy)
    except (OSError, sqlite3.Error) as error:
        raise BackupError(str(error)) from error


def _copy_sqlite(target: Path) -> None:
    with closing(sqlite3.connect(connection.settings_dict["NAME"])) as source:
        source.execute("VACUUM INTO ?", [str(target)])
    _examine(target)


def _replace_sqlite(copy: Path) -> None:
    database = Path(connection.settings_dict["NAME"])
    new = database.with_name(f"{database.name}.new")
    shutil.copyfile(copy, new)
    _examine(new)
    if database.exists():
        shutil.copymode(database, new)
    for suffix in ("-wal", "-shm"):  # their pages belong to the database that is replaced
        database.with_name(database.name + suffix).unlink(missing_ok=True)
    new.replace(database)


def _examine(file: Path) -> None:
    with closing(sqlite3.connect(file)) as opened:
        told = opened.execute("PRAGMA integrity_check").fetchone()[0]
    if told != "ok":
        raise BackupError(f"{file} is damaged: {told}")


def _dump(target: Path) -> None:
    _run([_program("pg_dump"), *_server()[0], "--format=custom", f"--file={target}"])


def _load(copy: Path) -> None:
    """Load a dump in one transaction, into a schema without the tables that are newer than the dump."""
    script = copy.with_name(f"{copy.name}.sql")
    try:
        script.touch(mode=0o600)
        _run([_program("pg_restore"), "--no-owner", f"--file={script}", str(copy)])
        options = ["--no-psqlrc", "--quiet", "--single-transaction", "--set=ON_ERROR_STOP=1", "--output=/dev/null"]
        _run([_program("psql"), *options, f"--command={FRESH_SCHEMA}", f"--file={script}", *_server()[0]])
    finally:
        script.unlink(missing_ok=True)


def _server() -> tuple[list[str], dict[str, str]]:
    """Return the arguments and environment variables with which PostgreSQL's programs connect to the database."""
    arguments, environment = connection.client.settings_to_cmd_args_env(connection.settings_dict, [])
    return list(arguments[1:]), environment or {}


def _program(name: str) -> str:
    """Return the path of PostgreSQL's program in the server's major version. Raises BackupError if it is missing."""
    with connection.cursor() as cursor:
        cursor.execute("SHOW server_version_num")
        major = int(cursor.fetchone()[0]) // 10_000
    found = shutil.which(name, path=f"{DEBIAN}/{major}/bin") or shutil.which(name)
    if (
        found
        and f" {major}." in subprocess.run([found, "--version"], capture_output=True, text=True, check=False).stdout
    ):
        return found
    raise BackupError(
        f"The server is PostgreSQL {major}, and {name} {major} is missing: install postgresql-client-{major}."
    )


def _run(command: list[str]) -> None:
    done = subprocess.run(command, env={**os.environ, **_server()[1]}, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BackupError(f"{Path(command[0]).name}: {(done.stderr.strip().splitlines() or ['it failed'])[0]}")
