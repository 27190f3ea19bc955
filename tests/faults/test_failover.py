"""Tests with servers that take over: a PostgreSQL replica, and a Redis replica that Sentinel promotes."""

import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psycopg
import pytest

from payments_site.demo.process import HOST, Process, free_port
from payments_site.demo.services import PostgresServer, RedisServer, postgres_binaries, redis_binary
from tests import services
from tests.clinic import Clinic, open_socket, told
from tests.faults.test_live_redis import Day
from tests.live_site import LiveSite
from tests.services import running
from tests.waits import wait_until

pytestmark = [pytest.mark.faults, pytest.mark.nightly, pytest.mark.slow, pytest.mark.timeout(300)]
MakeSite = Callable[..., LiveSite]
GROUP = "payments"  # the name by which Sentinel knows the master and its replicas
SENTINEL = """
port {port}
bind {host}
dir {folder}
sentinel monitor {group} {host} {master} 2
sentinel down-after-milliseconds {group} 1000
sentinel failover-timeout {group} 5000
"""


@pytest.fixture
def postgres_pair() -> "Iterator[tuple[PostgresServer, ReplicaServer]]":
    """Yield a primary, whose commits wait for its replica, and the replica."""
    with ExitStack() as started:
        primary = started.enter_context(services.postgres(durable=True)).process
        if not isinstance(primary, PostgresServer):
            pytest.skip("TEST_DATABASE_URL names a server that isn't ours to kill")
        copy = Path(started.enter_context(tempfile.TemporaryDirectory(prefix="replica-")))
        replica = started.enter_context(running(ReplicaServer(copy, primary)))
        with psycopg.connect(primary.url, autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
            connection.execute("SELECT pg_reload_conf()")
            wait_until(lambda: is_synchronous(connection), "the replica follows the primary")
        yield primary, replica


class ReplicaServer(PostgresServer):
    """A copy of `primary` in `folder` that follows it, until it is promoted to a primary."""

    def __init__(self, folder: Path, primary: PostgresServer) -> None:
        options = {name: primary.options[name] for name in ("user", "group", "extra_groups") if name in primary.options}
        folder.chmod(0o777)
        source = ["-h", HOST, "-p", str(primary.port), "-U", "postgres"]
        target = ["-D", str(folder / "data"), "-R", "-X", "stream", "--checkpoint=fast"]
        subprocess.run([postgres_binaries() / "pg_basebackup", *source, *target], check=True, cwd=folder, **options)
        super().__init__(folder, free_port(), durable=True)

    def promote(self) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            # Nobody follows the new primary yet, so its commits must not wait for a replica.
            connection.execute("ALTER SYSTEM SET synchronous_standby_names = ''")
            connection.execute("SELECT pg_reload_conf()")
            connection.execute("SELECT pg_promote()")


def is_synchronous(connection: "psycopg.Connection[Any]") -> bool:
    found = connection.execute("SELECT sync_state FROM pg_stat_replication").fetchall()
    return found == [("sync",)]


def test_a_postgresql_replica_takes_over_and_nothing_is_lost(
    make_site: MakeSite, postgres_pair: tuple[PostgresServer, ReplicaServer]
) -> None:
    """After the primary is killed, the same DATABASE_URL reaches the replica, which has every acknowledged event."""
    primary, replica = postgres_pair
    places = f"{HOST}:{primary.port},{HOST}:{replica.port}"
    url = f"postgres://postgres@{places}/postgres?target_session_attrs=read-write&gssencmode=disable"
    site = make_site(start=False, DATABASE_URL=url)
    site.make_database()
    site.start()
    clinic = Clinic(site, each=20)
    staff = clinic.staff[0]
    head = clinic.head(staff)
    with open_socket(site, staff, head) as page:
        assert told(page)["t"] == "hello"
        for number in range(5):
            assert clinic.tell(clinic.story(payment=number).completed()) == 200
        primary.kill()
        refused = clinic.tell(clinic.story(payment=5).completed())
        assert refused >= 500, "nothing is acknowledged while there is no primary"
        replica.promote()
        clinic.tell_until_taken(clinic.story(payment=5).completed())
        for number in range(6, 10):
            assert clinic.tell(clinic.story(payment=number).completed()) == 200
        seqs: list[int] = []
        while len(seqs) < 10:
            message = told(page)
            seqs += [message["seq"]] if "html" in message else []
    assert seqs == list(range(head + 1, head + 11))
    with psycopg.connect(replica.url) as connection:
        [(paid,)] = connection.execute("SELECT count(*) FROM clinic_payments_payment WHERE status = 'paid'").fetchall()
    assert paid == 10


@pytest.fixture
def sentinels(tmp_path: Path) -> Iterator[tuple[RedisServer, str]]:
    """Yield a Redis master that has a replica and is watched by three sentinels, and the REDIS_URL of the group."""
    with ExitStack() as started:
        (tmp_path / "master").mkdir()
        (tmp_path / "replica").mkdir()
        master = started.enter_context(running(RedisServer(tmp_path / "master", free_port())))
        replica = RedisServer(tmp_path / "replica", free_port())
        replica.command = [*replica.command, "--replicaof", HOST, str(master.port)]
        started.enter_context(running(replica))
        wait_until(lambda: "sync: Finished with success" in replica.log(), "the replica has copied the master")
        watchers = [started.enter_context(running(sentinel(tmp_path, number, master))) for number in range(3)]
        places = ",".join(f"{HOST}:{watcher.port}" for watcher in watchers)
        yield master, f"redis+sentinel://{places}/{GROUP}"


def sentinel(folder: Path, number: int, master: RedisServer) -> Process:
    place, port = folder / f"sentinel-{number}", free_port()
    place.mkdir()
    file = place / "sentinel.conf"
    file.write_text(SENTINEL.format(port=port, host=HOST, folder=place, group=GROUP, master=master.port))
    return Process(f"sentinel-{number}", [redis_binary(), file, "--sentinel"], port, place / "log", {})


def test_pages_hear_of_other_processes_again_after_sentinel_has_promoted_a_replica(
    make_site: MakeSite, sentinels: tuple[RedisServer, str]
) -> None:
    """Every change arrives, in order, also while no Redis answers; afterwards changes are pushed at once again."""
    master, url = sentinels
    day = Day(make_site(postgres=True, REDIS_URL=url))
    with day.open() as page:
        day.pushes_again(page)
        master.kill()
        day.seconds_until_told(page)
        day.pushes_again(page)
