"""Tests of the one request that delivers a webhook: where it may go, how long it may take, and how much is read."""

import ipaddress
import resource
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pytest_django.fixtures import Settings

from integrations.models import WebhookAttempt
from integrations.outgoing import exchange
from integrations.outgoing.addresses import RefusedAddressError, is_public, require_allowed, unwrap
from integrations.outgoing.exchange import LONGEST_ANSWER, Answer, post
from payments_site.demo.process import free_port
from tests.integrations.receiver import Handler, Receiver, answers, drips, floods, hangs, hangs_up, receiving

Failure = WebhookAttempt.Failure
NAME = "hook.example"


def send(url: str) -> Answer:
    return post(url, {"Content-Type": "application/json"}, b"{}", time.monotonic() + exchange.DEADLINE)


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the deadline, so that the test needn't wait."""
    monkeypatch.setattr(exchange, "DEADLINE", 1.5)


# Addresses


@pytest.mark.parametrize(
    "text",
    [
        "0.0.0.1", "10.1.2.3", "100.64.0.1", "100.127.255.255", "127.0.0.1", "127.255.255.254", "169.254.169.254",
        "172.16.0.1", "172.31.255.255", "192.0.0.8", "192.0.2.1", "192.88.99.1", "192.168.1.1", "198.18.0.1",
        "198.19.255.255", "198.51.100.7", "203.0.113.9", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255",
        "::", "::1", "::7f00:1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "64:ff9b::7f00:1",
        "64:ff9b::a9fe:a9fe", "64:ff9b::10.0.0.1", "64:ff9b:1::7f00:1", "64:ff9b:1::808:808", "100::1", "2001::1",
        "2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001:20::1", "2001:db8::1", "2002:7f00:1::", "2002:808:808::",
        "3fff::1", "5f00::1", "fc00::1", "fd12:3456::1", "fe80::1", "fe80::1%lo", "fec0::1", "ff02::1",
    ],
)  # fmt: skip
def test_addresses_that_are_not_public_are_refused(text: str, settings: Settings) -> None:
    settings.CLINIC_OUTGOING_WEBHOOK_NETWORKS = []
    assert not is_public(unwrap(ipaddress.ip_address(text)))
    with pytest.raises(RefusedAddressError):
        require_allowed([text], encrypted=True)


@pytest.mark.parametrize(
    "text",
    ["8.8.8.8", "100.63.255.255", "100.128.0.1", "172.32.0.1", "192.0.1.1", "2001:4860:4860::8888", "2a00:1450::1",
     "2606:4700::1", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8"],
)  # fmt: skip
def test_public_addresses_are_allowed_over_tls_alone(text: str, settings: Settings) -> None:
    settings.CLINIC_OUTGOING_WEBHOOK_NETWORKS = ["10.0.0.0/8"]
    require_allowed([text], encrypted=True)
    with pytest.raises(RefusedAddressError):
        require_allowed([text], encrypted=False)


@pytest.mark.parametrize("text", ["10.9.9.9", "::ffff:10.9.9.9", "fd00::7"])
def test_networks_in_the_setting_are_allowed(text: str, settings: Settings) -> None:
    settings.CLINIC_OUTGOING_WEBHOOK_NETWORKS = ["10.0.0.0/8", "fd00::/8"]
    require_allowed([text], encrypted=False)
    with pytest.raises(RefusedAddressError):
        require_allowed([text, "192.168.1.1"], encrypted=True)


def test_a_name_without_addresses_is_refused() -> None:
    with pytest.raises(RefusedAddressError):
        require_allowed([], encrypted=True)


@pytest.mark.parametrize("host", ["127.0.0.1", "0x7f000001", "2130706433", "127.1", "localhost", "[::1]"])
def test_every_spelling_of_this_machine_is_refused(host: str, settings: Settings) -> None:
    settings.CLINIC_OUTGOING_WEBHOOK_NETWORKS = []
    with receiving() as receiver:
        port = receiver.url.split(":")[2].split("/")[0]
        answer = send(f"https://{host}:{port}/hook")
        assert (answer.status, answer.failure) == (None, Failure.REFUSED_ADDRESS)
        assert receiver.requests == []


class Names:
    """A name server that answers with these addresses, one list for each question; the last one is repeated.

    It replaces the system's for NAME alone.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> None:
        self.answers, self.asked, self.real = list(answers), 0, socket.getaddrinfo
        monkeypatch.setattr(socket, "getaddrinfo", self.getaddrinfo)

    def getaddrinfo(self, host: Any, port: Any, *args: Any, **options: Any) -> Any:
        if host not in (NAME, NAME.encode()):
            return self.real(host, port, *args, **options)
        answer = self.answers[min(self.asked, len(self.answers) - 1)]
        self.asked += 1
        kinds = [socket.AF_INET6 if ":" in address else socket.AF_INET for address in answer]
        return [(kind, socket.SOCK_STREAM, 6, "", (address, port)) for kind, address in zip(kinds, answer, strict=True)]


def at_name(receiver: Receiver) -> str:
    return receiver.url.replace("127.0.0.1", NAME)


def test_one_bad_address_among_good_ones_is_enough_to_refuse(
    monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    settings.CLINIC_OUTGOING_WEBHOOK_NETWORKS = ["127.0.0.1/32"]
    Names(monkeypatch, ["127.0.0.1", "169.254.169.254"])
    with receiving() as receiver:
        assert send(at_name(receiver)).failure == Failure.REFUSED_ADDRESS
        assert receiver.requests == []


def test_the_connection_goes_to_the_address_that_was_judged(
    monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    """A name server that changes its answer after the check leads nowhere, because it isn't asked again."""
    settings.CLINIC_OUTGOING_WEBHOOK_NETWORKS = ["127.0.0.2/32"]
    names = Names(monkeypatch, ["127.0.0.2"], ["127.0.0.1"])
    with receiving() as receiver:
        assert send(at_name(receiver)).failure == Failure.CONNECTION
        assert receiver.requests == []
    assert names.asked == 1


def test_the_next_address_is_tried_when_one_is_out_of_reach(
    monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    settings.CLINIC_OUTGOING_WEBHOOK_NETWORKS = ["127.0.0.0/8", "::1/128"]
    Names(monkeypatch, ["127.0.0.3", "127.0.0.1"])
    with receiving() as receiver:
        assert send(at_name(receiver)).status == 204
        assert receiver.requests[0].headers["host"] == at_name(receiver).split("/")[2]


def test_a_proxy_in_the_environment_is_not_used(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    assert send(receiver.url).status == 204


# TLS


@pytest.fixture
def certified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ssl.SSLContext]:
    """Return a server's TLS context with a certificate for NAME, whose issuer the site trusts in this test."""
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    self_signed = f"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN={NAME}"
    files: list[str | Path] = ["-keyout", key, "-out", certificate, "-addext", f"subjectAltName=DNS:{NAME}"]
    subprocess.run([*self_signed.split(), *files], check=True, capture_output=True)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    exchange._tls.cache_clear()
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate, key)
    yield tls
    exchange._tls.cache_clear()


def test_the_certificate_has_to_be_of_the_name_in_the_url(
    certified: ssl.SSLContext, loopback: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str | None] = []
    certified.sni_callback = lambda _socket, name, _context: asked.append(name)
    Names(monkeypatch, ["127.0.0.1"])
    with receiving(certified) as receiver:
        assert send(at_name(receiver)).status == 204
        assert asked == [NAME]
        assert receiver.requests[0].headers["host"] == at_name(receiver).split("/")[2]
        assert send(receiver.url).failure == Failure.CONNECTION  # by its address, which isn't in the certificate
        assert len(receiver.requests) == 1


# Time and size


def test_a_receiver_that_hangs_is_left_at_the_deadline(receiver: Receiver, hurried: None) -> None:
    receiver.behaviours = [hangs(4)]
    answer = send(receiver.url)
    assert (answer.status, answer.failure) == (None, Failure.TIMEOUT)
    assert 1400 <= answer.milliseconds < 4000


@pytest.mark.parametrize(
    "head",
    [b"HTTP/1.1 200 OK\r\nX-Header: ", b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", b"HTT"],
    ids=["in headers", "in the body", "in the first line"],
)
def test_an_answer_that_drips_is_left_at_the_deadline(head: bytes, receiver: Receiver, hurried: None) -> None:
    receiver.behaviours = [drips(head, 0.1)]
    answer = send(receiver.url)
    assert (answer.status, answer.failure) == (None, Failure.TIMEOUT)
    assert answer.milliseconds < 4000


def test_a_name_server_that_hangs_is_left_at_the_deadline(
    receiver: Receiver, hurried: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **options: time.sleep(3))
    answer = send(at_name(receiver))
    assert answer.failure == Failure.TIMEOUT
    assert answer.milliseconds < 2900


def test_of_an_endless_answer_the_beginning_is_read(receiver: Receiver) -> None:
    receiver.behaviours = [floods]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    answer = send(receiver.url)
    assert answer.status == 200
    assert answer.beginning == "y" * LONGEST_ANSWER
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # KB


def test_a_compressed_answer_is_kept_as_it_came(receiver: Receiver) -> None:
    receiver.behaviours = [answers(200, b"\x1f\x8b\x00bomb", {"Content-Encoding": "gzip"})]
    assert send(receiver.url).beginning == "\x1f\ufffd\ufffdbomb"


def test_endless_headers_are_refused(receiver: Receiver, hurried: None) -> None:
    receiver.behaviours = [answers(200, headers={f"X-{number}": "z" * 5000 for number in range(100)})]
    assert send(receiver.url).failure == Failure.PROTOCOL


@pytest.mark.parametrize("status", [200, 201, 204, 299])
def test_2xx_is_a_success(status: int, receiver: Receiver) -> None:
    receiver.behaviours = [answers(status)]
    assert send(receiver.url).is_success


def speaks_ssh(handler: Handler) -> None:
    handler.wfile.write(b"SSH-2.0-OpenSSH\r\n\r\n")


def test_failures_are_told_apart(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    receiver.behaviours = [hangs_up, speaks_ssh]
    assert send(receiver.url).failure in (Failure.CONNECTION, Failure.PROTOCOL)
    assert send(receiver.url).failure == Failure.PROTOCOL
    assert send(f"http://127.0.0.1:{free_port()}/").failure == Failure.CONNECTION

    def unknown(*args: object, **options: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    assert send("https://nowhere.example/").failure == Failure.NAME


def test_nothing_is_sent_after_the_time_is_over(receiver: Receiver) -> None:
    """A process that was frozen after it had claimed a message doesn't send it when it goes on."""
    assert post(receiver.url, {}, b"{}", time.monotonic() - 1).failure == Failure.TIMEOUT
    assert receiver.requests == []
