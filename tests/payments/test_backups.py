"""Tests of payments_backup and payments_restore, on SQLite and on PostgreSQL, with a small database of their own."""

import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection
from pytest_django.fixtures import Settings

from payments import backups
from payments_site.demo.services import postgres_binaries
from tests.databases import default_database

Capture = pytest.CaptureFixture[str]


class Notes:
    """A database with one table, which takes the place of the site's."""

    def __init__(self) -> None:
        self.execute("CREATE TABLE note (text varchar(20))")

    def execute(self, statement: str, *values: str) -> list[str]:
        with connection.cursor() as cursor:
            cursor.execute(statement, values)
            return [row[0] for row in cursor.fetchall()] if statement.startswith("SELECT") else []

    def add(self, text: str) -> None:
        self.execute("INSERT INTO note VALUES (%s)", text)

    def all(self) -> list[str]:
        return self.execute("SELECT text FROM note ORDER BY text")


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def notes(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, django_db_blocker: Any
) -> Iterator[Notes]:
    server = request.getfixturevalue("postgres_server") if request.param == "postgresql" else None
    name = server.create_database() if server else ""
    if server:
        monkeypatch.setenv("PATH", f"{postgres_binaries()}:{os.environ['PATH']}")
    url = server.database_url(name) if server else f"sqlite:///{tmp_path}/db.sqlite3"
    with django_db_blocker.unblock(), default_database(url):
        yield Notes()
    if server:
        server.drop_database(name)


@pytest.fixture
def folder(tmp_path: Path, settings: Settings) -> Path:
    (tmp_path / "backups").mkdir()
    settings.CLINIC_BACKUP_FOLDER = str(tmp_path / "backups")
    return tmp_path / "backups"


def test_a_restored_copy_has_what_was_committed_before_it_and_nothing_later(notes: Notes, folder: Path) -> None:
    notes.add("before")  # on SQLite only in the file db.sqlite3-wal, because the connection is still open
    call_command("payments_backup")
    (copy,) = backups.copies(folder)
    assert copy.stat().st_mode & 0o777 == 0o600
    notes.add("later")
    notes.execute("CREATE TABLE of_the_next_version (text varchar(20))")

    call_command("payments_restore", str(copy), "--yes")

    assert notes.all() == ["before"]
    with pytest.raises(DatabaseError):
        notes.execute("SELECT * FROM of_the_next_version")
    assert list(folder.iterdir()) == [copy]


def test_a_second_backup_of_a_restored_database_can_be_restored(notes: Notes, folder: Path) -> None:
    notes.add("before")
    for _ in range(2):
        call_command("payments_backup")
        call_command("payments_restore", str(backups.copies(folder)[-1]), "--yes")
    assert notes.all() == ["before"]


def test_a_damaged_copy_changes_nothing(notes: Notes, folder: Path) -> None:
    for number in range(2000):
        notes.add(f"{number:04}")
    call_command("payments_backup")
    (copy,) = backups.copies(folder)
    whole = copy.read_bytes()
    copy.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CommandError, match="Nothing was restored"):
        call_command("payments_restore", str(copy), "--yes")
    assert len(notes.all()) == 2000


def test_only_the_newest_copies_stay(notes: Notes, folder: Path) -> None:
    other = folder / "payments.txt"
    other.touch()
    old = [folder / f"payments-2026-05-0{day}-020000{backups.SUFFIXES[connection.vendor]}" for day in (1, 2, 3)]
    for path in old:
        path.touch()
    call_command("payments_backup", "--keep", "2")
    assert backups.copies(folder)[0] == old[2]
    assert len(backups.copies(folder)) == 2
    assert other.exists()


def test_a_backup_without_a_folder_says_what_to_set(settings: Settings, tmp_path: Path) -> None:
    settings.CLINIC_BACKUP_FOLDER = ""
    with pytest.raises(CommandError, match="BACKUP_FOLDER"):
        call_command("payments_backup")
    settings.CLINIC_BACKUP_FOLDER = str(tmp_path / "nowhere")
    with pytest.raises(CommandError, match="BACKUP_FOLDER"):
        call_command("payments_backup")


def test_a_copy_of_the_other_database_is_refused(notes: Notes, folder: Path) -> None:
    (other,) = set(backups.SUFFIXES.values()) - {backups.SUFFIXES[connection.vendor]}
    wrong = folder / f"payments-2026-05-01-020000{other}"
    wrong.touch()
    with pytest.raises(CommandError, match="is no copy of a"):
        call_command("payments_restore", str(wrong), "--yes")
    with pytest.raises(CommandError, match="There is no file"):
        call_command("payments_restore", str(wrong.with_suffix(backups.SUFFIXES[connection.vendor])), "--yes")


def test_a_restore_that_nobody_agrees_to_changes_nothing(
    notes: Notes, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    call_command("payments_backup")
    notes.add("later")
    monkeypatch.setattr("builtins.input", lambda question: "n")
    with pytest.raises(CommandError, match="Nothing was changed"):
        call_command("payments_restore", str(backups.copies(folder)[0]))
    assert notes.all() == ["later"]


@pytest.mark.parametrize("notes", ["postgresql"], indirect=True)
@pytest.mark.slow
def test_the_program_of_another_major_version_is_not_used(
    notes: Notes, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "pg_dump"
    program.write_text("#!/bin/sh\necho 'pg_dump (PostgreSQL) 12.22'\n")
    program.chmod(0o755)
    monkeypatch.setattr(backups, "DEBIAN", tmp_path / "nowhere")
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
    major = int(notes.execute("SELECT current_setting('server_version_num')")[0]) // 10_000
    with pytest.raises(CommandError, match=f"install postgresql-client-{major}"):
        call_command("payments_backup")
    assert not backups.copies(folder)


@pytest.mark.parametrize("notes", ["sqlite"], indirect=True)
def test_sqlite_opened_beside_a_leftover_wal_file_is_what_was_restored(notes: Notes, folder: Path) -> None:
    """A -wal file of the database that was replaced would otherwise be played into the restored one."""
    notes.add("before")
    call_command("payments_backup")
    database = Path(connection.settings_dict["NAME"])
    crashed = sqlite3.connect(database)  # like a process that was killed: its pages stay in the -wal file
    crashed.execute("INSERT INTO note VALUES ('later')")
    crashed.commit()
    assert database.with_name(f"{database.name}-wal").stat().st_size > 0
    call_command("payments_restore", str(backups.copies(folder)[0]), "--yes")
    assert notes.all() == ["before"]
    crashed.close()
    assert notes.all() == ["before"]
