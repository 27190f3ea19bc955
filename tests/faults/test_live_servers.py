"""Sockets on real servers: the frames are written past the server's own send(), so both servers are tried."""

import json
import socket
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from payments_site.demo.process import HOST, Process, free_port
from tests.clinic import Clinic, Person
from tests.live_site import LiveSite

pytestmark = pytest.mark.faults
UVICORN = ["--ws", "websockets-sansio", "--ws-per-message-deflate", "false", "--lifespan", "off"]


def open_socket(site: LiveSite, person: Person, after: int = 0, url: str = "", **options: Any) -> ClientConnection:
    address = (url or site.url).replace("http", "ws")
    return connect(
        f"{address}/ws/payments/?after={after}&feed={person.feed}&lang=fr",
        origin=site.url,  # type: ignore[arg-type]
        additional_headers={"Cookie": f"sessionid={person.session}"},
        **options,
    )


def told(page: ClientConnection, seconds: float = 8) -> dict[str, Any]:
    return dict(json.loads(page.recv(seconds)))


@pytest.fixture(params=["daphne", "uvicorn", "uvicorn with another protocol"])
def served(request: pytest.FixtureRequest, site: LiveSite) -> Iterator[tuple[LiveSite, str]]:
    """A site, and the URL at which this server serves it."""
    if request.param == "daphne":
        yield site, site.url
        return
    port = free_port()
    options = UVICORN if request.param == "uvicorn" else ["--ws", "websockets", "--lifespan", "off"]
    command = [sys.executable, "-m", "uvicorn", "payments_site.asgi:application", "--port", str(port), *options]
    server = Process("uvicorn", command, port, site.folder / "uvicorn.log", site.settings)
    site.server.stop()
    server.start()
    yield site, f"http://{HOST}:{port}"
    server.stop()
    assert "Traceback" not in server.log(), server.tail(60)


def test_a_page_is_told_on_every_server(served: tuple[LiveSite, str]) -> None:
    site, url = served
    clinic = Clinic(site, each=3)
    patient = clinic.patients[0]
    assert clinic.tell(clinic.story(payment=0).completed(), url) == 200
    with open_socket(site, patient, url=url) as page:
        assert told(page)["seq"] == 1
        assert told(page) == {"t": "hello", "seq": 1, "hb": 10}
        for number in (1, 2):
            assert clinic.tell(clinic.story(payment=number).completed(), url) == 200
            entry = told(page)
            assert (entry["seq"], entry["prev"]) == (number + 1, number)
            assert str(patient.payments[number].public_id) in entry["html"]
        page.send("ping")
        assert told(page) == {"t": "hb", "seq": 3}
        assert told(page, 12) == {"t": "hb", "seq": 3}  # by itself
        page.send("gibberish")
        with pytest.raises(ConnectionClosed) as closed:
            page.recv(5)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 4400


MANY = """
import itertools
from payments.models import Payment
from payments import ledger
from payments.facts import Kind, StripeFact
for n in range({count}):
    for payment in Payment.objects.all():
        ledger.record([StripeFact(kind=Kind.OFFLINE, stripe_id=f"offline_{{payment.pk}}_{{n}}", status="cash", as_of=n,
            created=n, amount=1, currency="eur", payment_id=str(payment.public_id))], ledger.Cause("desk"))
"""


def test_a_reader_who_does_not_read_is_cut_and_disturbs_nobody(served: tuple[LiveSite, str]) -> None:
    site, url = served
    clinic = Clinic(site, staff=2, each=10)
    slow, quick = clinic.staff
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.connect((HOST, int(url.rsplit(":", 1)[1])))
    with (
        open_socket(site, slow, url=url, sock=sock, max_queue=1) as stalled,
        open_socket(site, quick, url=url, max_queue=None) as page,
    ):
        assert told(page)["t"] == "hello"
        site.manage("shell", "--no-imports", "--command", MANY.format(count=50))
        entries: list[int] = []
        while len(entries) < 500:
            entries += [message["seq"] for message in [told(page)] if "html" in message]
        assert entries == list(range(1, 501))
        with pytest.raises(ConnectionClosed):
            list(stalled)
