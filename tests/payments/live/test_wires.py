"""Tests of connections on real servers: uvicorn's are taken over from it and behave as before, others aren't."""

import asyncio
import gc
import json
import select
import signal
import socket
import ssl
import struct
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from payments.live.wires import AsgiWire, Messages
from payments_site.demo.process import HOST, Process, free_port
from tests.machine import needs
from tests.payments.live.test_websocket_protocol import CASES, Outcome, cut_streams, expected_outcome
from tests.payments.live.websocket_frames import CLOSE, PING, PONG, TEXT, close, frame, frames_in
from tests.services import running
from tests.waits import PATIENCE, wait_until

UVICORN = ("--lifespan", "off", "--ws-per-message-deflate", "false", "--ws-max-size", "65536", "--log-level", "warning")
SANS_IO = ("--ws", "websockets-sansio")
HANDSHAKE = (
    "GET {path} HTTP/1.1\r\nHost: example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
Serve = Callable[..., "Server"]


class Server(Process):
    """A server of wire_app."""

    def state(self) -> dict[str, int]:
        with urllib.request.urlopen(f"http://{HOST}:{self.port}/", timeout=PATIENCE) as answer:
            found: dict[str, int] = json.load(answer)
        return found

    def open(self, path: str = "/", buffer: int = 0) -> "Line":
        return Line(self.port, path, buffer)


class Line:
    """A client's end of a WebSocket, which sends and receives raw bytes and answers nothing by itself."""

    def __init__(self, port: int, path: str, buffer: int) -> None:
        self.socket = socket.socket()
        if buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        self.socket.settimeout(PATIENCE)
        self.socket.connect((HOST, port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.sendall(HANDSHAKE.format(path=path).encode())
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += self.socket.recv(1)
        assert head.startswith(b"HTTP/1.1 101 ")

    def __enter__(self) -> "Line":
        return self

    def __exit__(self, *_error: object) -> None:
        self.socket.close()

    def send(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.socket.sendall(piece)

    def frame(self) -> tuple[int, bytes]:
        """Return the opcode and payload of the next frame. Raise EOFError if the connection ends instead."""
        head = self._exactly(2)
        size = head[1]
        size = int.from_bytes(self._exactly(2 if size == 126 else 8), "big") if size > 125 else size
        return head[0] & 15, self._exactly(size)

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            piece = self.socket.recv(size - len(data))
            if not piece:
                raise EOFError
            data += piece
        return data

    def rest(self) -> list[tuple[int, bytes]]:
        """Return the frames until the connection ends; a close frame without its reason."""
        data = b""
        while piece := self.socket.recv(65536):
            data += piece
        return [(opcode, payload[:2] if opcode == CLOSE else payload) for opcode, payload in frames_in(data)]


def uvicorn(folder: Path, *options: str, app: str = "app") -> Server:
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", f"tests.payments.live.wire_app:{app}", "--port", str(port)]
    return Server("uvicorn", [*command, *UVICORN, *options], port, folder / f"{port}.log", {})


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Yield a function that starts uvicorn with more options. At the end, its log must hold no traceback."""
    with ExitStack() as stack:

        def start(*options: str, app: str = "app") -> Server:
            started.append(stack.enter_context(running(uvicorn(tmp_path, *SANS_IO, *options, app=app))))
            return started[-1]

        started: list[Server] = []
        yield start
    for server in started:
        assert "Traceback" not in server.log(), server.tail(60)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Yield a uvicorn that all tests of this module may share."""
    with running(uvicorn(tmp_path_factory.mktemp("uvicorn"), *SANS_IO)) as server:
        yield server
    assert "Traceback" not in server.log(), server.tail(60)


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
@pytest.mark.parametrize("http", ["httptools", "h11"])
def test_the_installed_uvicorn_gives_its_connections_away(serve: Serve, loop: str, http: str) -> None:
    """If this fails after an upgrade, wires.py no longer fits uvicorn, and sockets need five times as much memory."""
    server = serve("--loop", loop, "--http", http)
    before = server.state()
    with ExitStack() as stack:
        lines = [stack.enter_context(server.open()) for _ in range(5)]
        for number, line in enumerate(lines):
            line.send(frame(TEXT, b"%d" % number))
            assert line.frame() == (TEXT, b"%d" % number)
        assert server.state() == before | {"UvicornWire": 5, "protocols": 5}  # and uvicorn's objects and tasks are gone
    wait_until(lambda: server.state()["left"] == 5, "all wires have ended")
    assert server.state() == before | {"UvicornWire": 5, "left": 5}


def certify(folder: Path) -> tuple[Path, Path]:
    """Make a private key and its certificate for HOST, and return their paths."""
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost"
    files: list[str | Path] = ["-keyout", key, "-out", certificate, "-addext", f"subjectAltName=IP:{HOST}"]
    subprocess.run([*command.split(), *files], check=True, capture_output=True)
    return key, certificate


def expect_encrypted(server: Server, certificate: Path, wire: str) -> None:
    """Check that a page whose connection has TLS is served through this class of wire, and gets all that is written."""
    trusted = ssl.create_default_context(cafile=certificate)
    with connect(f"wss://{HOST}:{server.port}/", ssl=trusted) as page:
        page.send("x" * 60_000)
        assert page.recv(PATIENCE) == "x" * 60_000
        page.send("flood 50")
        assert [len(page.recv(PATIENCE)) for _ in range(50)] == [100_000] * 50
        with urllib.request.urlopen(f"https://{HOST}:{server.port}/", timeout=PATIENCE, context=trusted) as answer:
            assert json.load(answer)[wire] == 1
        page.send("close 4400")
        with pytest.raises(ConnectionClosed) as closed:
            page.recv(PATIENCE)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 4400


@needs("openssl", "openssl")
@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_a_connection_with_tls_is_taken_over_too(serve: Serve, tmp_path: Path, loop: str) -> None:
    key, certificate = certify(tmp_path)
    server = serve("--loop", loop, "--ssl-keyfile", str(key), "--ssl-certfile", str(certificate))
    expect_encrypted(server, certificate, "UvicornWire")


@contextmanager
def daphne(folder: Path, endpoint: str = "tcp:{port}:interface={host}") -> Iterator[Server]:
    """Run daphne at this Twisted endpoint. At the end, its log must hold no traceback."""
    port = free_port()
    options = ["-v", "0", "-e", endpoint.format(port=port, host=HOST)]
    command = [sys.executable, "-m", "daphne", *options, "tests.payments.live.wire_app:app"]
    with running(Server("daphne", command, port, folder / f"{port}.log", {})) as server:
        yield server
    assert "Traceback" not in server.log(), server.tail(60)


def test_a_slow_client_of_daphne_gets_all_messages_in_order(tmp_path: Path) -> None:
    """The first are sent at once, the others when the client has read these."""
    with daphne(tmp_path) as server:
        with server.open(buffer=4096) as line:
            line.send(frame(TEXT, b"first"), frame(TEXT, b"flood 50"))
            assert line.frame() == (TEXT, b"first")
            time.sleep(0.5)  # until the buffers between server and client are full
            line.send(frame(PING))
            assert [line.frame() for _ in range(51)] == [*[(TEXT, b"x" * 100_000)] * 50, (PONG, b"")]
            line.send(frame(TEXT, b"close 4400"))  # now, because daphne cuts a client that doesn't answer within 1 s
            assert line.frame() == (CLOSE, close(4400))
        assert server.state()["DaphneWire"] == 1
        with server.open(buffer=4096) as line:
            line.send(frame(TEXT, b"flood 50"))
            line.frame()
        wait_until(lambda: server.state()["left"] == 2, "the wire has ended")


@needs("openssl", "openssl")
def test_daphne_encrypts_all_that_is_written(tmp_path: Path) -> None:
    key, certificate = certify(tmp_path)
    with daphne(tmp_path, f"ssl:{{port}}:interface={{host}}:privateKey={key}:certKey={certificate}") as server:
        expect_encrypted(server, certificate, "DaphneWire")


def test_another_protocol_of_uvicorn_is_served_through_asgi(tmp_path: Path) -> None:
    with running(uvicorn(tmp_path, "--ws", "websockets")) as server:
        with server.open() as line:
            line.send(frame(TEXT, b"hello"))
            assert line.frame() == (TEXT, b"hello")
            line.send(frame(TEXT, b"close 4400"))
            assert line.frame() == (CLOSE, close(4400))
        wait_until(lambda: server.state()["left"], "the wire has ended")
        assert server.state()["AsgiWire"] == 1


def assert_answers(server: Server, pieces: list[bytes], outcome: Outcome) -> None:
    """Check that the server's answers to a client that sends these pieces, and then ends its stream, fit the outcome.

    If the server closes the connection before it has read everything, the close frame may get lost.
    """
    messages, replies = outcome
    echoes = [(TEXT, each.encode() if isinstance(each, str) else each.hex().encode()) for each in messages]
    with server.open() as line:
        try:
            line.send(*pieces)
            line.socket.shutdown(socket.SHUT_WR)
            found = line.rest()
        except OSError:
            assert replies[-1][0] == CLOSE
            return
    assert [each for each in found if each[0] == TEXT] == echoes
    assert [each for each in found if each[0] != TEXT] == replies


@pytest.mark.parametrize("case", CASES)
def test_the_rfc_s_cases_hold_on_the_server(server: Server, case: str) -> None:
    data, outcome = CASES[case]
    assert_answers(server, [data[: len(data) // 2], data[len(data) // 2 :]], outcome)


@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut_streams())
def test_random_frames_are_answered_on_the_server_as_the_library_says(server: Server, pieces: list[bytes]) -> None:
    assert_answers(server, pieces, expected_outcome(b"".join(pieces)))


def test_messages_are_answered_in_order_however_they_are_cut(server: Server) -> None:
    sizes = (0, 1, 125, 126, 127, 4095, 4096, 65535, 65536)
    stream = b"".join(frame(TEXT, b"x" * size) for size in sizes)
    with server.open() as line:
        for start in range(0, len(stream), 9973):
            line.send(stream[start : start + 9973])
        assert [len(line.frame()[1]) for _ in sizes] == list(sizes)


def test_a_close_code_reaches_the_client_and_its_answer_ends_the_connection(serve: Serve) -> None:
    server = serve()
    with server.open() as line:
        line.send(frame(TEXT, b"close 4401"))
        assert line.frame() == (CLOSE, close(4401))
        line.send(frame(TEXT, b"more"), frame(PING, b"p"), frame(CLOSE, close(4401)))
        assert line.rest() == [(PONG, b"p")]
    assert server.state()["left"] == 1


def test_a_client_that_does_not_answer_a_close_frame_is_cut(serve: Serve) -> None:
    server = serve(app="hurried_app")
    with server.open() as line:
        line.send(frame(TEXT, b"close 4401"))
        while not server.state()["left"]:
            with suppress(ConnectionError):
                line.send(frame(PONG))  # signs of life don't extend the time
            time.sleep(0.05)
        assert line.rest()[0] == (CLOSE, close(4401))


@pytest.mark.parametrize("end", ["close frame", "end of stream", "reset", "server's abort", "error"])
def test_the_listener_is_told_once_that_the_connection_has_ended(server: Server, end: str) -> None:
    before = server.state()["left"]
    with server.open() as line:
        if end == "close frame":
            line.send(frame(CLOSE, close(1001)))
            assert line.rest() == [(CLOSE, close(1001))]
        elif end == "end of stream":
            line.socket.shutdown(socket.SHUT_WR)
            assert line.rest() == []
        elif end == "reset":
            line.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        elif end == "server's abort":
            line.send(frame(TEXT, b"abort"))
            assert line.rest() == []
        else:
            line.send(frame(3))
            assert line.rest() == [(CLOSE, close(1002))]
    wait_until(lambda: server.state()["left"] > before, "the wire has ended")
    assert server.state()["left"] == before + 1


def test_what_arrives_while_the_application_still_connects_is_not_lost(server: Server) -> None:
    with server.open("/slow") as line:
        line.send(frame(TEXT, b"early"), frame(TEXT, b"bird"))
        assert [line.frame(), line.frame()] == [(TEXT, b"early"), (TEXT, b"bird")]


def test_a_client_that_leaves_while_the_application_still_connects_is_noticed(server: Server) -> None:
    before = server.state()["left"]
    with server.open("/slow"):
        pass
    wait_until(lambda: server.state()["left"] == before + 1, "the wire has ended")


def test_a_fault_of_the_listener_closes_the_connection_and_is_logged(tmp_path: Path) -> None:
    with running(uvicorn(tmp_path, *SANS_IO)) as server:
        with server.open() as line:
            line.send(frame(TEXT, b"raise"))
            assert line.rest() == [(CLOSE, close(1011))]
        assert server.state()["left"] == 1
        assert "a fault that the test asked for" in server.log()


KEEPALIVE = ("--ws-ping-interval", "1.5", "--ws-ping-timeout", "1.5")


def test_a_client_that_vanished_is_found_by_a_ping(serve: Serve) -> None:
    server = serve(*KEEPALIVE)
    with server.open() as line:
        assert line.frame() == (PING, b"")
        assert line.rest() == [(CLOSE, close(1011))]
    assert server.state()["left"] == 1


def test_clients_that_came_together_are_not_pinged_together(serve: Serve) -> None:
    server = serve("--ws-ping-interval", "4")
    with ExitStack() as stack:
        lines = [stack.enter_context(server.open()) for _ in range(20)]
        waiting, times = {line.socket: line for line in lines}, []
        while waiting:
            pinged, _, _ = select.select(list(waiting), [], [], PATIENCE)
            times.append(time.monotonic())
            assert [waiting.pop(each).frame() for each in pinged] == [(PING, b"")] * max(1, len(pinged))
    assert times[-1] - times[0] > 0.5


def test_clients_that_give_a_sign_of_life_stay(serve: Serve) -> None:
    server = serve(*KEEPALIVE)
    with ExitStack() as stack:
        signs = (frame(PONG), frame(PING, b"p"), frame(TEXT, b"hello"))
        lines = {sign: stack.enter_context(server.open()) for sign in signs}
        for _ in range(3):
            for sign, line in lines.items():
                while line.frame() != (PING, b""):
                    pass
                line.send(sign)
        for line in lines.values():
            line.send(frame(TEXT, b"still here"))
            while line.frame() != (TEXT, b"still here"):
                pass


def test_without_an_interval_nobody_is_pinged(serve: Serve) -> None:
    server = serve("--ws-ping-interval", "0")
    with server.open() as line:
        line.socket.settimeout(3)
        with pytest.raises(TimeoutError):
            line.frame()


def test_clients_are_told_when_the_server_stops_and_it_waits_for_nobody(serve: Serve) -> None:
    """Each client gets 1012, in whatever state it is, and one that reads nothing doesn't delay the server's end."""
    server = serve()
    with ExitStack() as stack:
        idle, half, closing, connecting = (stack.enter_context(server.open(path)) for path in ("/", "/", "/", "/slow"))
        half.send(frame(TEXT, b"x" * 1000)[:500])
        closing.send(frame(TEXT, b"close 4401"))
        assert closing.frame() == (CLOSE, close(4401))
        deaf = stack.enter_context(server.open(buffer=4096))
        deaf.send(frame(TEXT, b"flood 100"))
        assert deaf.socket.recv(1)
        started = time.monotonic()
        server.stop(20, signal.SIGTERM)
        assert time.monotonic() - started < 10
        assert "graceful shutdown exceeded" not in server.log()
        assert idle.rest() == half.rest() == connecting.rest() == [(CLOSE, close(1012))]
        assert closing.rest() == []


async def test_a_server_that_refuses_to_send_on_an_ended_connection_fills_no_log() -> None:
    """ASGI servers raise when a connection has ended; asyncio logs exceptions of tasks that nobody awaits."""
    unretrieved: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: unretrieved.append(context))

    async def receive() -> Any:
        raise AssertionError("nobody serves this connection")

    async def send(_event: Any) -> None:
        raise OSError("the connection has ended")

    wire = AsgiWire(receive, send)
    wire.write(Messages(b"news"))
    await asyncio.sleep(0)
    wire.close(1000)
    await asyncio.sleep(0)
    del wire
    gc.collect()
    await asyncio.sleep(0)
    assert unretrieved == []
