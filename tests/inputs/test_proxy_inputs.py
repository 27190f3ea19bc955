"""Tests of requests that nginx refuses without asking the site: too big, too slow, with unknown methods or hosts."""

import itertools
import socket
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from payments_site.demo.process import free_ports
from tests.machine import needs
from tests.services import running
from tests.test_deploy import NAME, Nginx, echoing
from tests.waits import PATIENCE, wait_until

__all__ = ["echoing"]
pytestmark = needs("nginx", "nginx-light")


def said(nginx: Nginx, sent: str, seconds: float = PATIENCE) -> bytes:
    """Send text over TLS; return the start of nginx's answer, empty if it hangs up or is silent for `seconds`."""
    with nginx.socket() as plain, nginx.tls.wrap_socket(plain, server_hostname=NAME) as line:
        line.settimeout(seconds)
        line.sendall(sent.encode("latin-1"))
        try:
            return line.recv(4096)
        except (TimeoutError, ConnectionError):
            return b""


CHUNK = f"{50_000:x}\r\n{'x' * 50_000}\r\n"
REFUSED = {
    "100 MB announced": (f"POST /stripe/webhook/ HTTP/1.1\r\nHost: {NAME}\r\nContent-Length: 104857600\r\n\r\n", "413"),
    "a length that is none": (f"POST / HTTP/1.1\r\nHost: {NAME}\r\nContent-Length: -1\r\n\r\n", "400"),
    "no length, growing": (
        f"POST /stripe/webhook/ HTTP/1.1\r\nHost: {NAME}\r\nTransfer-Encoding: chunked\r\n\r\n{CHUNK * 6}", "413",
    ),
    "length and chunks": (
        f"POST / HTTP/1.1\r\nHost: {NAME}\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400",
    ),
    "two hosts": (f"GET / HTTP/1.1\r\nHost: {NAME}\r\nHost: evil.example\r\n\r\n", "400"),
    "no host": ("GET / HTTP/1.1\r\n\r\n", "400"),
    "TRACE": (f"TRACE / HTTP/1.1\r\nHost: {NAME}\r\n\r\n", "405"),
    "FOO": (f"FOO / HTTP/1.1\r\nHost: {NAME}\r\n\r\n", "405"),
    "CONNECT": (f"CONNECT {NAME}:443 HTTP/1.1\r\nHost: {NAME}\r\n\r\n", "400"),
    "a header of 17 KB": (f"GET /ws/payments/ HTTP/1.1\r\nHost: {NAME}\r\nX-Long: {'x' * 17_000}\r\n\r\n", "400"),
    "headers of 80 KB": (f"GET / HTTP/1.1\r\nHost: {NAME}\r\n" + f"X-Some: {'x' * 800}\r\n" * 100 + "\r\n", "400"),
    "out of the folder": (f"GET /static/../../etc/passwd HTTP/1.1\r\nHost: {NAME}\r\n\r\n", "400"),
    "out of the folder, hidden": (f"GET /static/..%2f..%2fetc/passwd HTTP/1.1\r\nHost: {NAME}\r\n\r\n", "400"),
}  # fmt: skip


def test_what_no_browser_and_no_stripe_sends_is_refused(echoing: Nginx) -> None:
    answers = {case: said(echoing, sent)[9:12].decode() for case, (sent, _) in REFUSED.items()}
    assert answers == {case: expected for case, (_, expected) in REFUSED.items()}


def test_another_host_is_not_answered(echoing: Nginx) -> None:
    answer = said(echoing, "GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n")
    assert answer[9:12] in (b"", b"421", b"400")


def test_while_no_server_answers_a_page_says_that_nothing_is_lost(tmp_path: Path) -> None:
    nginx = Nginx(tmp_path, *itertools.islice(free_ports(), 2))
    with running(nginx.process):
        answer, body = nginx.ask("GET", "/appointments/")
        assert answer.status == 502
        assert "rien n’est perdu" in body.decode()
        assert "nothing is lost" in body.decode()
        assert nginx.ask("POST", "/stripe/webhook/", b"{}")[0].status == 502


def test_what_is_too_large_is_said_to_people_on_a_page_and_to_programs_in_a_line(echoing: Nginx) -> None:
    for path, kind, words in (
        ("/desk/ABCD2345/take/", "text/html", "Rien n’a été modifié"), ("/stripe/webhook/", "text/plain", "too large")
    ):  # fmt: skip
        answer, body = echoing.ask("POST", path, b"x" * (256 * 1024 + 1))
        assert (answer.status, answer.headers["Content-Type"].split(";")[0]) == (413, kind)
        assert words in body.decode()
        assert b"nginx" not in body


@pytest.fixture
def impatient(tmp_path: Path) -> Nginx:
    """Return an nginx that waits one second for a request's headers and body; the shipped configuration waits ten."""
    nginx = Nginx(tmp_path)
    conf = tmp_path / "nginx.conf"
    text = conf.read_text()
    for wait in ("client_header_timeout 10s;", "client_body_timeout 10s;"):
        assert wait in text
        text = text.replace(wait, wait.replace("10s", "1s"))
    conf.write_text(text)
    return nginx


def test_a_silent_or_slow_client_is_cut(impatient: Nginx) -> None:
    impatient.process.start()
    try:
        lines = []
        for sent in (
            "",
            "G",
            f"GET /ws/payments/ HTTP/1.1\r\nHost: {NAME}\r\n",
            f"POST / HTTP/1.1\r\nHost: {NAME}\r\n",
        ):
            line = impatient.tls.wrap_socket(impatient.socket(), server_hostname=NAME)
            line.sendall(sent.encode())
            lines.append(line)
            line.settimeout(0.1)
        for line in lines[:2]:
            wait_until(partial(hung_up, line), "a client that says nothing is cut")
        for line in lines[2:]:  # a byte now and then does not extend the second
            wait_until(partial(hung_up_on_a_byte, line), "a slow client is cut")
            line.close()
    finally:
        impatient.process.stop()


def hung_up_on_a_byte(line: socket.socket) -> bool:
    with suppress(OSError):
        line.sendall(b"X")
    return hung_up(line)


def hung_up(line: socket.socket) -> bool:
    try:
        while line.recv(4096):
            pass
    except TimeoutError:
        return False
    except OSError:
        pass
    return True
