"""Tests of WebSockets on both ASGI servers, daphne and uvicorn.

Both are tested, because the site sends frames without the server's own send().
"""

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from unittest.mock import ANY

import pytest
from websockets.exceptions import ConnectionClosed

from payments_site.demo.process import HOST, Process, free_port
from tests.clinic import Clinic, open_socket, told
from tests.live_site import ForkedProcess, LiveSite, uvicorn_command
from tests.waits import wait_until

pytestmark = pytest.mark.faults


@pytest.fixture(params=["daphne", "uvicorn", pytest.param("uvicorn with another protocol", marks=pytest.mark.nightly)])
def served(request: pytest.FixtureRequest, site: LiveSite) -> Iterator[tuple[LiveSite, str]]:
    """Yield a site and the URL of the server under test (daphne or uvicorn), which serves the site."""
    if request.param == "daphne":
        yield site, site.url
        return
    port = free_port()
    options = [] if request.param == "uvicorn" else ["--ws", "websockets"]
    command = uvicorn_command(port, *options)
    server = ForkedProcess(request.param, command, port, site.folder / "uvicorn.log", site.settings, cwd=site.code)
    site.server.stop()
    site.others.append(server)
    server.start()
    yield site, f"http://{HOST}:{port}"
    server.stop()
    assert "Traceback" not in server.log(), server.tail(60)


def test_a_page_is_told_on_every_server(served: tuple[LiveSite, str]) -> None:
    site, url = served
    clinic = Clinic(site, each=3)
    patient = clinic.patients[0]
    head = clinic.head(patient, url)
    assert clinic.tell(clinic.story(payment=0).completed(), url) == 200
    with open_socket(site, patient, head, url=url) as page:
        assert told(page)["seq"] == head + 1
        assert told(page) == {"t": "hello", "seq": head + 1, "epoch": ANY, "hb": 10}
        for number in (1, 2):
            assert clinic.tell(clinic.story(payment=number).completed(), url) == 200
            entry = told(page)
            assert (entry["seq"], entry["prev"]) == (head + number + 1, head + number)
            assert str(patient.payments[number].public_id) in entry["html"]
        page.send("ping")
        assert told(page) == {"t": "hb", "seq": head + 3, "epoch": ANY}
        assert told(page) == {"t": "hb", "seq": head + 3, "epoch": ANY}  # a heartbeat, which needs no ping
        page.send("gibberish")
        with pytest.raises(ConnectionClosed) as closed:
            list(page)  # a heartbeat may come first
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 4400


MANY = """
from dataclasses import asdict
from payments.models import Feed, FeedEntry, Payment, StatusChange
payment, feed = Payment.objects.first(), Feed.objects.get(audience="staff")
numbers = range(feed.head + 1, feed.head + {count} + 1)
changes = StatusChange.objects.bulk_create(
    StatusChange(payment=payment, version=n, from_status="unpaid", to_status="paid", source="desk",
                 standing=asdict(payment.standing)) for n in numbers)
entries = [FeedEntry(feed=feed, seq=n, payment=payment, change=change) for n, change in zip(numbers, changes)]
for first in range(0, {count}, 50):
    FeedEntry.objects.bulk_create(entries[first:first + 50])
    Feed.objects.filter(pk=feed.pk).update(head=entries[first:first + 50][-1].seq)
"""
COUNT = 20_000  # frames of 740 bytes: three times what the kernel buffers for a connection


SLOW = 20  # sockets, the most that one person may open


def small_socket(url: str) -> socket.socket:
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.connect((HOST, int(url.rsplit(":", 1)[1])))
    return sock


def resident(process: Process) -> float:
    """Return the process's resident memory in mebibytes."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


@pytest.mark.nightly
@pytest.mark.parametrize("served", ["daphne", "uvicorn"], indirect=True)
def test_readers_who_do_not_read_are_cut_and_disturb_nobody(served: tuple[LiveSite, str]) -> None:
    site, url = served
    clinic = Clinic(site, staff=2)
    slow, quick = clinic.staff
    process = site.server if url == site.url else site.others[0]
    head = clinic.head(quick, url)
    with ExitStack() as stack:
        for _ in range(SLOW):
            sock = small_socket(url)
            # This client answers nothing: a ping would end the connection, and closing would wait ten seconds.
            options = {"sock": sock, "max_queue": 1, "ping_interval": None, "close_timeout": 0.1}
            stalled = stack.enter_context(open_socket(site, slow, head, url=url, **options))
        page = stack.enter_context(open_socket(site, quick, head, url=url, max_queue=None))
        assert told(page)["t"] == "hello"
        before = resident(process)
        site.manage("shell", "--no-imports", "--command", MANY.format(count=COUNT))
        entries: list[int] = []
        while len(entries) < COUNT:
            entries += [message["seq"] for message in [told(page)] if "html" in message]
        assert entries == list(range(head + 1, head + COUNT + 1))
        wait_until(lambda: process.log().count("live_socket_cut audience=staff") >= SLOW, "the slow sockets are cut")
        # Without a limit the slow sockets would hold 200 MiB. Their memory is freed while they are being closed.
        wait_until(lambda: resident(process) < before + 80, f"80 MiB more than {before:.0f} at most")
        with pytest.raises(ConnectionClosed):
            list(stalled)
