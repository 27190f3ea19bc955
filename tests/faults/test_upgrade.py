"""Test that a new version can be deployed, with a migration, while Stripe delivers events and pages are open."""

import json
import os
import subprocess
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect
from websockets.typing import Origin

from payments_site.demo.process import HOST, Process, free_port
from payments_site.demo.site import ROOT
from tests.clinic import Clinic, Person, socket_path
from tests.live_site import LiveSite
from tests.machine import needs
from tests.services import running
from tests.test_deploy import DEPLOY, NAME, Nginx, unit_command
from tests.waits import wait_until

pytestmark = [pytest.mark.faults, pytest.mark.nightly, pytest.mark.slow, pytest.mark.timeout(300)]
UNIT = "payments-web@.service"
BOOKED = 400  # payments, each with an entry about its booking in the staff's feed
BEFORE, AFTER = 20, 20  # events before the first process is stopped, and after the last one is back
PAUSE = 0.1  # seconds between two events
LONGEST_GAP = 15.0  # seconds; the promise is 5, on a machine that does nothing else


class Page:
    """A staff page behind nginx, which opens its socket again at once when it loses it.

    `seqs` are the numbers of the entries that it received, and `gaps` the seconds from losing a socket to "hello".
    """

    def __init__(self, nginx: Nginx, person: Person, after: int) -> None:
        self.nginx, self.person = nginx, person
        self.seqs, self.gaps = [after], list[float]()

    def follow(self, over: threading.Event) -> None:
        lost = time.monotonic()
        while not over.is_set():
            try:
                self._read_until_closed(lost, over)
            except (ConnectionClosed, OSError, EOFError):
                lost = time.monotonic()

    def _read_until_closed(self, lost: float, over: threading.Event) -> None:
        url = f"wss://{NAME}{socket_path(self.person, self.seqs[-1])}"
        cookie = {"Cookie": f"__Host-sessionid={self.person.session}"}
        with (
            self.nginx.socket() as at,
            connect(url, sock=at, ssl=self.nginx.tls, origin=Origin(f"https://{NAME}"),
                    additional_headers=cookie, open_timeout=60) as socket,
        ):  # fmt: skip
            while not over.is_set():
                try:
                    message = json.loads(socket.recv(1))
                except TimeoutError:
                    continue
                if message.get("t") == "hello":
                    self.gaps.append(time.monotonic() - lost)
                elif "html" in message:
                    self.seqs.append(message["seq"])


class Deliveries:
    """Events that Stripe delivers through nginx, one every PAUSE seconds; `statuses` are the HTTP responses' codes."""

    def __init__(self, nginx: Nginx, clinic: Clinic) -> None:
        self.nginx, self.clinic = nginx, clinic
        self.statuses: list[int] = []

    def deliver(self, over: threading.Event) -> None:
        for number in range(BOOKED):
            if over.wait(PAUSE):
                return
            delivery = self.clinic.signed(self.clinic.story(payment=number).completed())
            answer, _ = self.nginx.ask("POST", "/stripe/webhook/", *delivery)
            self.statuses.append(answer.status)

    def wait_for(self, count: int) -> None:
        wait_until(lambda: len(self.statuses) >= count, f"{count} deliveries are answered")


@needs("nginx", "nginx-light")
def test_no_delivery_fails_and_no_page_misses_a_change_while_a_version_is_deployed(
    make_site: Callable[..., LiveSite], tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    nginx = Nginx(tmp_path, *(ports := (free_port(), free_port())))
    site = make_site(start=False, postgres=True, redis=True, SITE_URL=f"https://{NAME}", ALLOWED_HOSTS=NAME)
    webs = [
        Process(f"web-{port}", unit_command(UNIT, port), port, tmp_path / f"{port}.log", site.settings, cwd=ROOT)
        for port in ports
    ]
    clinic = Clinic(site, each=BOOKED)
    stripe, page = Deliveries(nginx, clinic), Page(nginx, clinic.staff[0], after=BOOKED)
    delivered, shown = threading.Event(), threading.Event()
    with running(webs[0]), running(webs[1]), running(nginx.process), ThreadPoolExecutor(2) as pool:
        tasks = pool.submit(page.follow, shown), pool.submit(stripe.deliver, delivered)
        try:
            stripe.wait_for(BEFORE)
            restart_one_by_one(webs, nginx, site)
            stripe.wait_for(len(stripe.statuses) + AFTER)
            delivered.set()
            tasks[1].result()
            last = BOOKED + len(stripe.statuses)
            wait_until(lambda: page.seqs[-1] == last, "the page has every change")
        finally:
            delivered.set()
            shown.set()
        tasks[0].result()
    record_property("deliveries", len(stripe.statuses))
    record_property("seconds without a socket", [round(gap, 2) for gap in page.gaps])
    assert set(stripe.statuses) == {200}
    assert page.seqs == list(range(BOOKED, last + 1))
    assert max(page.gaps) < LONGEST_GAP


def restart_one_by_one(webs: list[Process], nginx: Nginx, site: LiveSite) -> None:
    """Restart each web process as docs/operations.md says. While the first is down, the second runs on new tables."""
    for web in webs:
        drain(nginx, "down", web.port)
        time.sleep(2)
        web.stop(seconds=30)
        if web is webs[0]:
            migrate(site)
        web.start()
        drain(nginx, "up", web.port)


def migrate(site: LiveSite) -> None:
    """Change the tables as a migration of the next version may: add a column, and an index without a lock."""
    with psycopg.connect(site.settings["DATABASE_URL"], autocommit=True) as connection:
        connection.execute("ALTER TABLE clinic_payments_payment ADD COLUMN of_the_next_version text NULL")
        connection.execute("CREATE INDEX CONCURRENTLY next_version ON clinic_payments_payment (of_the_next_version)")


def drain(nginx: Nginx, direction: str, port: int) -> None:
    program = nginx.folder / "nginx.sh"
    arguments = " ".join(f"'{word}'" for word in (*nginx.command, "-g", nginx.options))
    program.write_text(f'#!/bin/sh\nexec {arguments} "$@"\n')
    program.chmod(0o755)
    env = {"PATH": os.environ["PATH"], "UPSTREAM": str(nginx.folder / "upstream.conf"), "NGINX_PROGRAM": str(program)}
    subprocess.run([DEPLOY / "drain.sh", direction, f"{HOST}:{port}"], env=env, check=True)
