"""Tests of a process killed during a webhook, a database that doesn't answer, a full disk and a moved clock."""

import json
import os
import re
import resource
import secrets
import signal
import sqlite3
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection

from payments_site.demo.process import HOST, Process, free_port
from tests import services
from tests.clinic import Clinic, open_socket, told
from tests.faults.processes import family
from tests.live_site import LiveSite
from tests.waits import PATIENCE, wait_until

pytestmark = [pytest.mark.faults, pytest.mark.timeout(180)]
MakeSite = Callable[..., LiveSite]


class Database:
    """Direct access to the site's database, bypassing the site, as an operator has with psql."""

    def __init__(self, site: LiveSite) -> None:
        self.url = site.settings["DATABASE_URL"]

    def ask(self, query: str) -> Any:
        with psycopg.connect(self.url, autocommit=True) as connection:
            return connection.execute(query).fetchone()[0]  # type: ignore[index]

    def order(self, statement: str) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(statement)

    @contextmanager
    def holding(self, statement: str) -> Iterator[None]:
        """Execute the statement in a transaction that holds its locks during the block and is then rolled back."""
        with psycopg.connect(self.url) as connection:
            connection.execute(statement)
            yield
            connection.rollback()

    def make_durable(self) -> None:
        """Make PostgreSQL flush each commit to disk; for speed, the tests' server doesn't by default."""
        self.order(f"ALTER DATABASE {self.url.rsplit('/', 1)[1]} SET synchronous_commit = on")

    @contextmanager
    def commits_unanswered(self) -> Iterator[None]:
        """Make commits hang during the block: once on disk, they wait for a standby server that doesn't exist."""
        self.order("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
        try:
            self.order("SELECT pg_reload_conf()")
            self.wait_for("current_setting('synchronous_standby_names') = 'nobody'")
            yield
        finally:
            self.order("ALTER SYSTEM RESET synchronous_standby_names")
            self.order("SELECT pg_reload_conf()")

    def wait_for(self, condition: str) -> None:
        wait_until(lambda: self.ask(f"SELECT {condition}"), condition)

    def changes(self) -> int:
        return int(self.ask("SELECT count(*) FROM clinic_payments_statuschange WHERE source = 'webhook'"))


def next_entry(page: ClientConnection, seconds: float = PATIENCE) -> dict[str, Any]:
    deadline = time.monotonic() + seconds
    while "html" not in (message := told(page, deadline - time.monotonic())):
        pass
    return message


def expect_no_entry(page: ClientConnection) -> None:
    """Check that the page receives no feed entry before its next heartbeat.

    By then, the server has queried the database for entries.
    """
    page.send("ping")
    assert [told(page)["t"], told(page)["t"]] == ["hb", "hb"]


@pytest.mark.nightly
@pytest.mark.redis
def test_a_process_killed_in_a_webhook_leaves_nothing_half_done(make_site: MakeSite) -> None:
    site = make_site(postgres=True, redis=True, start=False)
    database = Database(site)
    database.make_durable()
    site.start()
    other = site.start_another_server()
    clinic = Clinic(site, each=2)
    first, second = clinic.story(payment=0).completed(), clinic.story(payment=1).completed()
    head = database.ask("SELECT head FROM clinic_payments_feed WHERE audience = 'staff'")
    with open_socket(site, clinic.staff[0], head, url=other) as page:
        assert told(page)["t"] == "hello"
        # The webhook waits inside its transaction, in the first round trip, for the payment's row.
        with database.holding("LOCK TABLE clinic_payments_payment IN EXCLUSIVE MODE"):
            sent = threading.Thread(target=clinic.tell, args=(first,))
            sent.start()
            database.wait_for("EXISTS (SELECT FROM pg_locks WHERE NOT granted)")
            site.server.kill()
            sent.join()
        expect_no_entry(page)
        assert database.changes() == 0
        assert clinic.tell(first, other) == 200
        assert next_entry(page)["seq"] == head + 1
        site.server.start()
        # PostgreSQL has the writes and the COMMIT of the second round trip, and does them although the process is gone:
        # the change is neither pushed nor answered, and the other process finds it in the database.
        with database.commits_unanswered():
            sent = threading.Thread(target=clinic.tell, args=(second,))
            sent.start()
            database.wait_for("EXISTS (SELECT FROM pg_stat_activity WHERE wait_event = 'SyncRep')")
            site.server.kill()
            sent.join()
        assert next_entry(page)["seq"] == head + 2
        assert clinic.tell(second, other) == 200
        expect_no_entry(page)
    assert database.changes() == 2


def asked(site: LiveSite, path: str, session: str = "", seconds: float = PATIENCE) -> int:
    """GET `path` and return the HTTP status; `session` is a person's session key, or empty if nobody is signed in."""
    request = urllib.request.Request(f"{site.url}/{path}", headers={"Cookie": f"sessionid={session}"})
    try:
        with urllib.request.urlopen(request, timeout=seconds) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def seen(clinic: Clinic) -> tuple[int, bool]:
    """Return the HTTP status of the front desk's page, and whether the page says that the database is unavailable."""
    try:
        answer = clinic.get("/desk/", clinic.staff[0])
        return answer.status, False
    except urllib.error.HTTPError as error:
        return error.code, "base de données du site ne répond pas" in error.read().decode()


@pytest.mark.nightly
def test_a_database_that_hangs_or_crashes_is_said_and_outlived(
    make_site: MakeSite, postgres_server: services.Postgres
) -> None:
    if postgres_server.process is None:
        pytest.skip("TEST_DATABASE_URL names a server that isn't ours to freeze")
    site = make_site(postgres=True, start=False)
    database = Database(site)
    database.make_durable()
    site.start()
    clinic = Clinic(site, each=4)
    locked, free, later, last = (clinic.story(payment=number).completed() for number in range(4))
    head = clinic.head(clinic.staff[0])
    with open_socket(site, clinic.staff[0], head) as page:
        with database.holding("SELECT 1 FROM clinic_payments_payment ORDER BY id LIMIT 1 FOR UPDATE"):
            answers: list[int] = []
            sent = threading.Thread(target=lambda: answers.append(clinic.tell(locked)))
            sent.start()
            database.wait_for("EXISTS (SELECT FROM pg_locks WHERE NOT granted)")
            assert clinic.tell(free) == 200  # the lock does not stop other payments
            sent.join()
            assert answers == [503]  # the webhook was answered while the lock was still held
        assert clinic.tell(locked) == 200
        assert asked(site, "readyz") == 200
        with frozen(postgres_server.process):  # PostgreSQL stays frozen until all requests are answered
            assert asked(site, "readyz") == 503
            assert asked(site, "livez") == 200
            assert [seen(clinic), seen(clinic)] == [(503, True)] * 2
        clinic.tell_until_taken(later)
        assert seen(clinic) == (200, False)
        postgres_server.process.stop(sent=signal.SIGQUIT)  # like pg_ctl stop -m immediate
        postgres_server.process.start()
        clinic.tell_until_taken(last)
        assert asked(site, "readyz") == 200
        assert [next_entry(page)["seq"] for _ in range(4)] == [head + 1, head + 2, head + 3, head + 4]
    assert database.changes() == 4


@contextmanager
def frozen(server: Process) -> Iterator[None]:
    processes = family(server.pid)
    for pid in processes:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in processes:
            os.kill(pid, signal.SIGCONT)


def limit_files(site: LiveSite, size: int) -> None:
    """Simulate a full disk: files of the web process, such as database and log, can't grow beyond `size` bytes."""
    resource.prlimit(site.server.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def test_a_full_disk_acknowledges_nothing_and_heals_alone(site: LiveSite) -> None:
    clinic = Clinic(site)
    patient, event = clinic.patients[0], clinic.story().completed()
    with open_socket(site, patient, url=site.url) as page:
        while told(page).get("t") != "hello":
            pass
        limit_files(site, 0)
        assert [clinic.tell(event) for _ in range(3)] == [503] * 3
        assert asked(site, "readyz") == 503
        assert seen(clinic) in ((200, False), (503, True))  # SQLite needs some disk space even to read
        limit_files(site, resource.RLIM_INFINITY)
        assert seen(clinic) == (200, False)
        assert asked(site, "readyz") == 200
        assert clinic.tell(event) == 200
        assert json.dumps(next_entry(page)).count("paid")
    with sqlite3.connect(site.database_file) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


@contextmanager
def closed_pipe() -> Iterator[Path]:
    """Yield a path to write to: a pipe whose reading end is closed."""
    reads, writes = os.pipe()
    os.close(reads)
    yield Path(f"/proc/{os.getpid()}/fd/{writes}")
    os.close(writes)


@pytest.mark.nightly
def test_a_log_that_cannot_be_written_stops_nothing(make_site: MakeSite) -> None:
    site = make_site(start=False)
    port = free_port()
    other = site.new_server("web-2", port)
    site.others.append(other)
    site.server.log_path = Path("/dev/full")
    with closed_pipe() as pipe:
        other.log_path = pipe
        other.spawn()
        site.start()
        other.wait_until_listening()
        clinic = Clinic(site, each=2)
        for number, url in enumerate((site.url, f"http://{HOST}:{port}")):
            assert clinic.tell(clinic.story(payment=number).completed(), url) == 200
            assert clinic.tell({"id": "evt_forged"}, url, secret="whsec_wrong") == 400  # logged
            assert clinic.get("/desk/", clinic.staff[0], url).status == 200


@contextmanager
def few_connections(database: Database, most: int) -> Iterator[str]:
    """Yield the database's URL for a new user who may open no more than `most` connections."""
    name = f"few_{secrets.token_hex(4)}"
    database.order(f"CREATE ROLE {name} LOGIN CONNECTION LIMIT {most}")
    for kind in ("TABLES", "SEQUENCES"):
        database.order(f"GRANT ALL ON ALL {kind} IN SCHEMA public TO {name}")
    yield database.url.replace("postgres@", f"{name}@")
    database.order(f"DROP OWNED BY {name}")
    database.order(f"DROP ROLE {name}")


@pytest.mark.nightly
def test_when_connections_run_out_webhooks_are_taken_and_pages_say_so(make_site: MakeSite) -> None:
    site = make_site(postgres=True, start=False)
    database = Database(site)
    with few_connections(database, most=6) as url:
        site.server.env["DATABASE_URL"] = url
        site.start()
        clinic = Clinic(site, each=44)
        events = [clinic.story(payment=number).completed() for number in range(44)]
        assert [clinic.tell(event) for event in events[:4]] == [200] * 4
        with ThreadPoolExecutor(100) as threads:
            pages = [threads.submit(asked, site, "desk/", clinic.staff[0].session) for _ in range(100)]
            forged = [threads.submit(clinic.tell, event, secret="whsec_wrong") for event in events]
            taken = list(threads.map(clinic.tell, events[4:]))
        assert set(taken) == {200}
        assert {each.result() for each in forged} == {400}
        assert {each.result() for each in pages} <= {200, 503}
        assert asked(site, "desk/", clinic.staff[0].session) == asked(site, "readyz") == 200
        assert database.ask("SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%'") == 0
        site.stop()


class Clock:
    """Moves the clock of a site's web process; has to be made before the site is started."""

    def __init__(self, site: LiveSite) -> None:
        self.server, self.file = site.server, site.folder / "shift"
        python, _, _, *arguments = self.server.command
        self.server.command = [python, "-m", "tests.faults.moved_clock", self.file, *arguments]

    def move(self, seconds: float) -> None:
        self.file.write_text(str(seconds))
        os.kill(self.server.pid, signal.SIGUSR1)
        wait_until(lambda: not self.file.exists(), "the server has moved its clock")


def refusals(site: LiveSite) -> float:
    with urllib.request.urlopen(f"{site.url}/metrics", timeout=PATIENCE) as answer:
        found = re.search(r'^payments_webhooks_total{outcome="refused"} (\S+)', answer.read().decode(), re.M)
    return float(found[1]) if found else 0.0


@pytest.mark.nightly
def test_a_clock_that_is_moved_refuses_what_comes_and_takes_it_once_it_is_right(make_site: MakeSite) -> None:
    site = make_site(start=False)
    clock = Clock(site)
    site.start()
    clinic = Clinic(site, each=4)
    head = clinic.head(clinic.staff[0])
    for number, hours in enumerate((400 / 3600, -400 / 3600, 25, -1)):
        event = clinic.story(payment=number).completed()
        with open_socket(site, clinic.staff[0], head + number) as page:
            while told(page).get("t") != "hello":
                pass
            before = refusals(site)
            clock.move(3600 * hours)
            assert clinic.tell(event) == 400
            assert refusals(site) == before + 1  # the alert PaymentsWebhookRefused watches this count
            clock.move(0)
            assert clinic.tell(event) == 200
            try:
                assert next_entry(page)["seq"] == head + number + 1
            except ConnectionClosed:  # a page reconnects after any close code, from its cursor
                with open_socket(site, clinic.staff[0], head + number) as again:
                    assert next_entry(again)["seq"] == head + number + 1
    assert "Traceback" not in site.server.log()
