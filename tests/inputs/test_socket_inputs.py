"""Tests of the WebSocket with hostile input: handshakes of strangers, frames that no page sends, and floods."""

import base64
import itertools
import json
import os
import random
import socket
import struct
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin

from payments import consumers
from payments.live import hub
from payments.live.timing import BEAT
from payments_site.demo.process import HOST
from tests import services
from tests.clinic import Person, open_socket, told
from tests.inputs.conftest import attacked, unharmed
from tests.inputs.target import Headers, Target
from tests.payments.live.websocket_frames import CLOSE, TEXT, close, frame
from tests.waits import PATIENCE, wait_until

PATH = "/ws/payments/?after=0"
KEY = base64.b64encode(b"0123456789abcdef").decode()


@pytest.fixture(scope="module", params=["daphne", "uvicorn"])
def attacked_server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, postgres_server: services.Postgres,
    postgres_template: str,
) -> Iterator[Target]:  # fmt: skip
    """Yield a site on each of the two servers, because each reads handshakes and frames in its own way."""
    folder = tmp_path_factory.mktemp(request.param)
    with attacked(folder, postgres_server, postgres_template, request.param) as target:
        yield target


@pytest.fixture
def target(attacked_server: Target) -> Iterator[Target]:
    with unharmed(attacked_server) as target:
        yield target


def upgrade(
    target: Target, *more: tuple[str, str], path: str = PATH, origin: str | None = "", person: Person | None = None,
    key: str = KEY, version: str = "13",
) -> bytes:  # fmt: skip
    """Return the bytes of a WebSocket handshake with the additional headers `more`.

    If `origin` is empty, the Origin header is the site's own; if it is None, there is no such header.
    """
    origin = target.site.url if origin == "" else origin
    headers: Headers = [
        ("Host", target.site.url[7:]), ("Upgrade", "websocket"), ("Connection", "Upgrade"),
        ("Sec-WebSocket-Key", key), ("Sec-WebSocket-Version", version),
        *([("Origin", origin)] if origin is not None else []),
        *([cookie(person.session)] if person else []), *more,
    ]  # fmt: skip
    lines = [f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers), "", ""]
    return "\r\n".join(lines).encode("latin-1")


def handshake(target: Target, *more: tuple[str, str], **options: Any) -> str:
    """Send a handshake made by `upgrade`; return the status, "101" if accepted, or "" if the server hung up."""
    with socket.create_connection((HOST, target.site.server.port), timeout=PATIENCE) as line:
        line.sendall(upgrade(target, *more, **options))
        try:
            return line.recv(4096).decode("latin-1").partition("\r\n")[0][9:12]
        except ConnectionError:
            return ""


@contextmanager
def page(target: Target, person: Person | None = None, after: int = 0) -> Iterator[ClientConnection]:
    """Open a socket of `person` (default: the target's patient) and yield it after the server's greeting."""
    with open_socket(target.site, person or target.patient, after, compression=None, max_size=None) as connection:
        while told(connection).get("t") != "hello":
            pass
        yield connection


def open_at(target: Target, query: str) -> ClientConnection:
    address = f"{target.site.url.replace('http', 'ws')}/ws/payments/?{query}"
    headers = [cookie(target.patient.session)]
    return connect(address, origin=Origin(target.site.url), additional_headers=headers, compression=None)


def close_code(connection: ClientConnection, seconds: float = PATIENCE) -> int:
    """Wait until the server closes the socket; return the close code, or 1006 if there was no close frame."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            connection.recv(seconds)
        except ConnectionClosed as closed:
            return closed.rcvd.code if closed.rcvd else 1006
    raise AssertionError("still open")


def cookie(session: str) -> tuple[str, str]:
    return "Cookie", f"sessionid={session}"


@pytest.mark.parametrize(
    "origin",
    [None, "null", "http://evil.example", "SITE.evil.example", "http://evilHOST", "http://HOST@evil.example",
     "https://HOST", "http://127.0.0.1:9", "http://127.0.0.1", "ftp://HOST", "http://127.0.0.1:x", "http://[bad",
     "SITE/", "SITE#", "SITE, SITE", "http://\xe9vil", " "],
)  # fmt: skip
def test_another_origin_is_refused(target: Target, origin: str | None) -> None:
    site = target.site.url
    if origin is not None:
        origin = origin.replace("SITE", site).replace("HOST", site[7:])
    assert handshake(target, origin=origin, person=target.patient) in ("403", "400")


def test_two_origins_are_refused_even_if_one_is_ours(target: Target) -> None:
    for origins in (("http://evil.example", target.site.url), (target.site.url, "http://evil.example")):
        more = ("Origin", origins[1])
        assert handshake(target, more, origin=origins[0], person=target.patient) in ("403", "400")


@pytest.mark.parametrize("path", ["/ws/", "/ws/other/", "/", "/ws/payments/../../admin/", "/ws/payments", "/ws/%00/"])
def test_an_unknown_path_is_refused(target: Target, path: str) -> None:
    assert handshake(target, path=path, person=target.patient) == "403"


@pytest.mark.parametrize(
    ("more", "answers"),
    [
        ({"key": "c2hvcnQ="}, {"400"}),
        ({"key": "x" * 24}, {"400"}),
        ({"version": "8"}, {"101", "426", "400"}),
        ({"version": "99"}, {"400", "426"}),
    ],
)
def test_a_malformed_handshake_is_refused(target: Target, more: dict[str, str], answers: set[str]) -> None:
    assert handshake(target, person=target.patient, **more) in answers


# uvicorn never answers a handshake with such headers; nginx refuses them before.
@pytest.mark.parametrize("attacked_server", ["daphne"], indirect=True)
def test_huge_headers_are_refused(target: Target) -> None:
    assert handshake(target, ("X-Long", "x" * 17_000), person=target.patient) in ("400", "431", "")
    assert handshake(target, *[(f"X-{n}", "x") for n in range(600)], person=target.patient) in ("400", "431", "")


@pytest.mark.parametrize(
    "session",
    ["", "unknown" * 5, "../../../etc/passwd", '"\\000aaaaaaaaaaaaaaaa"', "x" * 5000, "é" * 32, "'; --aaaaaaa"],
)
def test_nobody_is_let_in_with_a_made_up_session(target: Target, session: str) -> None:
    stranger = Person("patient", target.patient.id, session, [], [])
    try:
        with open_socket(target.site, stranger) as connection:
            assert close_code(connection) == 4401
    except UnicodeError:
        assert handshake(target, cookie(session.encode().decode("latin-1"))) == "101"


def test_nobody_is_let_in_without_a_cookie_or_with_an_expired_one(target: Target) -> None:
    update = "UPDATE django_session SET expire_date = now() {} interval '1 day' WHERE session_key = %s"
    target.database.execute(update.format("-"), [target.other.session])
    try:
        with open_socket(target.site, target.other) as connection:
            assert close_code(connection) == 4401
    finally:
        target.database.execute(update.format("+"), [target.other.session])


def test_a_person_who_was_deactivated_is_not_let_in(target: Target) -> None:
    change = "UPDATE clinic_accounts_user SET is_active = %s WHERE id = %s"
    target.database.execute(change, [False, target.other.id])
    try:
        with open_socket(target.site, target.other) as connection:
            assert close_code(connection) == 4401
    finally:
        target.database.execute(change, [True, target.other.id])


QUERIES = [
    ("after=x", 4400), ("after=-1", 4400), ("after=1.5", 4400), ("after=" + "9" * 40, 4400), ("after=%D9%A3", 4400),
    ("after=%00", 4400), ("after=1e3", 4400), ("feed=staff", 4403), ("feed=STAFF", 4403), ("feed=*", 4403),
    ("feed=patient.OTHER", 4403), ("feed=patient.999999", 4403), ("feed=patient.%00", 4403), ("feed=é", 4403),
    ("feed=" + "x" * 101, 4403), ("feed=patient.1&feed=staff", 4403), ("feed=patient.%E9", 4403),
]  # fmt: skip


@pytest.mark.parametrize(("query", "code"), QUERIES, ids=lambda value: str(value)[:24])
def test_a_wrong_question_is_closed_with_its_code(target: Target, query: str, code: int) -> None:
    """The server closes a socket with a wrong query, and the close code says what is wrong.

    The code for another patient's feed is the same as for a feed that doesn't exist, so that it betrays nothing.
    """
    with open_at(target, query.replace("OTHER", str(target.other.id))) as connection:
        assert close_code(connection) == code


@pytest.mark.parametrize(
    "query", ["after=0&lang=<script>", "after=0&lang=%00", "after=0&try=1&why=%0Aforged&code=x",
              "after=0&" + "a=1&" * 900, "after=0&try=" + "9" * 3000, "&&&===&&;", "after=0&x=%ff%fe"]
)  # fmt: skip
def test_what_is_not_understood_in_a_question_is_left_aside(target: Target, query: str) -> None:
    with open_at(target, query) as connection:
        while told(connection).get("t") != "hello":
            pass
    assert "\nforged" not in target.logged()


BAD_TEXTS = [
    "", " ", "null", "[]", "5", "{}", "Ping", "ping ", "\0", "not JSON", "[" * 8000, '{"type": "feeds.moved"}',
    '{"type": "pay.changed", "audience": "staff"}', '{"type": "websocket.disconnect"}', '{"seen": "1", "payments": []}',
    '{"seen": 1, "payments": ["x"]}', '{"seen": -1, "payments": []}', '{"seen": 1e400, "payments": []}',
    '{"seen": 1, "payments": 5}', '{"seen": 1, "payments": [null]}', '{"seen": true, "payments": []}',
    '{"seen": 1, "payments": {"a": 1}}', '{"seen": ' + "9" * 5000 + "}", '"\\ud800"', '{"seen": NaN, "payments": []}',
]  # fmt: skip


@pytest.mark.parametrize("text", BAD_TEXTS, ids=lambda text: text[:30])
def test_anything_but_a_page_s_own_words_is_closed_with_4400(target: Target, text: str) -> None:
    with target.unmoved(), page(target) as connection:
        connection.send(text)
        assert close_code(connection) == 4400


@pytest.mark.parametrize("sent", [b"", b"ping", b"\xff" * 100, b'{"seen": 1, "payments": []}'])
def test_bytes_are_closed_with_4400(target: Target, sent: bytes) -> None:
    with page(target) as connection:
        connection.send(sent)
        assert close_code(connection) == 4400


def test_seeing_what_is_another_s_changes_nothing(target: Target) -> None:
    assert target.signed(target.clinic.story(1, 0).completed()).status == 200
    with page(target) as connection:
        theirs = ", ".join(f'"{payment.public_id}"' for payment in target.other.payments)
        connection.send(f'{{"seen": 1000, "payments": [{theirs}]}}')
        connection.send("ping")
        assert told(connection)["t"] == "hb"
    seen = "SELECT count(*) FROM clinic_payments_feedentry WHERE seen_at IS NOT NULL"
    assert target.database.execute(seen).fetchall() == [(0,)]


@pytest.mark.parametrize("size", [consumers.LARGEST_MESSAGE + 1, 60_000])
def test_a_big_message_is_closed_with_4413(target: Target, size: int) -> None:
    with page(target) as connection:
        connection.send("x" * size)
        assert close_code(connection) == 4413


@pytest.mark.parametrize("size", [64 * 1024 + 1, 1024 * 1024 + 1])
def test_a_huge_message_is_cut(target: Target, size: int) -> None:
    with page(target) as connection:
        connection.send("x" * size)
        assert close_code(connection) in (1006, 1009)


def test_a_huge_message_in_parts_is_cut(target: Target) -> None:
    with page(target) as connection:
        with suppress(ConnectionClosed, ConnectionError):
            connection.send(["x" * 40_000] * 30)
        assert close_code(connection) in (1006, 1009, 4413)


def violations() -> dict[str, bytes]:
    mask = b"\0\0\0\0"
    return {
        "8 GB announced": b"\x81\xff" + struct.pack("!Q", 8 * 1024**3) + mask,
        "unmasked": b"\x81\x04ping",
        "reserved bit": b"\xc1\x84" + mask + b"ping",
        "unknown opcode": b"\x83\x84" + mask + b"ping",
        "bad UTF-8": b"\x81\x82" + mask + b"\xff\xfe",
        "half a character": b"\x81\x81" + mask + b"\xc3",
        "continuation of nothing": b"\x80\x84" + mask + b"ping",
        "long control frame": b"\x89\xfe\x00\x7e" + mask + b"x" * 126,
        "close with a code of one byte": b"\x88\x81" + mask + b"\x03",
        "close with a code that is none": b"\x88\x82" + mask + struct.pack("!H", 5),
        "not a frame": b"GET / HTTP/1.1\r\n\r\n",
    }


@pytest.mark.parametrize("violation", violations())
def test_a_broken_frame_ends_the_connection(target: Target, violation: str) -> None:
    with page(target) as connection:
        connection.socket.sendall(violations()[violation])
        assert close_code(connection) in (1000, 1002, 1006, 1007, 1009)


def test_compression_is_not_negotiated(target: Target) -> None:
    """The server refuses compression, because a compressed message of a few kilobytes could unpack to gigabytes."""
    with open_socket(target.site, target.patient, compression="deflate") as connection:
        assert connection.protocol.extensions == []


def test_too_many_messages_are_closed_with_4429(target: Target) -> None:
    with page(target) as connection:
        for _ in range(consumers.PER_MINUTE):
            connection.send("ping")
        connection.send("ping")
        assert close_code(connection) == 4429


def test_a_flood_is_closed_at_once_and_delays_nobody(target: Target) -> None:
    with page(target, target.other) as bystander, page(target) as connection:
        with suppress(ConnectionClosed, ConnectionError):
            for _ in range(10_000):
                connection.send("ping")
        worked = cpu_seconds(target)
        bystander.send("ping")
        assert told(bystander)["t"] == "hb"
        assert cpu_seconds(target) - worked < 2  # processor time, which other processes don't lengthen
        assert close_code(connection) in (4429, 1006)


LAST_BYTES = {
    "close frame": frame(CLOSE, close(1000)),
    "protocol error": frame(3),
    "reset": b"",
    "half-open line": frame(TEXT, b"ping")[:5],
}


def leave_badly(target: Target, ending: str) -> socket.socket:
    """Open a socket, write 28 reports of payments that are in view and the ending at once, and return the line."""
    report = json.dumps({"seen": 999, "payments": [str(target.patient.payments[0].public_id)]}).encode()
    line = socket.create_connection((HOST, target.site.server.port), timeout=PATIENCE)
    line.sendall(upgrade(target, person=target.patient))
    assert line.recv(4096).startswith(b"HTTP/1.1 101")
    with suppress(ConnectionError):
        line.sendall(frame(TEXT, report) * 28 + LAST_BYTES[ending])
    if ending == "reset":
        line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    if ending != "half-open line":
        line.close()
    return line


def test_pages_that_leave_badly_disturb_no_other_page(target: Target) -> None:
    """Another page gets its beats and its changes while sockets end ten times a second, in each bad way."""
    over, open_lines = threading.Event(), list[socket.socket]()

    def leave_until_over() -> None:
        for ending in itertools.cycle(LAST_BYTES):
            if over.wait(0.1):
                return
            open_lines.append(leave_badly(target, ending))

    with ThreadPoolExecutor(1) as pool, page(target, target.other) as bystander:
        leaving = pool.submit(leave_until_over)
        try:
            assert told(bystander, 3 * BEAT)["t"] == "hb"
            assert target.clinic.tell(target.clinic.story(1, 5).completed()) == 200
            while "html" not in (message := told(bystander, 3 * BEAT)):
                assert message["t"] == "hb"
            assert not leaving.done()
        finally:
            over.set()
        leaving.result()
    for line in open_lines:
        line.close()


def test_the_oldest_socket_of_a_person_makes_room(target: Target) -> None:
    with page(target) as first, ExitStack() as stack:
        for _ in range(hub.PER_USER):
            stack.enter_context(open_socket(target.site, target.patient))
        assert close_code(first) == 4409


ENDINGS = {
    "signed out": ("DELETE FROM django_session WHERE session_key = %(session)s", 4401),
    "deactivated": ("UPDATE clinic_accounts_user SET is_active = false WHERE id = %(id)s", 4401),
    "no longer staff": ("UPDATE clinic_accounts_user SET is_staff = false WHERE id = %(id)s", 4403),
    "another password": ("UPDATE clinic_accounts_user SET password = 'x' WHERE id = %(id)s", 4401),
}


def test_sockets_close_within_five_seconds_of_the_end_of_their_right(target: Target) -> None:
    """The server closes a person's socket within about five seconds after the person's access is revoked.

    It is revoked directly in the database, as if by another process, so that the site itself has to notice.
    """
    with ExitStack() as stack:
        leavers = [target.clinic.staff[2 + number] for number in range(len(ENDINGS))]
        pages = [stack.enter_context(page(target, person)) for person in leavers]
        for (statement, _), person in zip(ENDINGS.values(), leavers, strict=True):
            target.database.execute(statement, {"id": person.id, "session": person.session})
        assert [close_code(each) for each in pages] == [code for _, code in ENDINGS.values()]
    assert hub.CHECK_LEAST < 5  # seconds between checks; how long a check takes depends on the machine


def cpu_seconds(target: Target) -> float:
    """Return the processor time that the server has used so far, in seconds."""
    fields = Path(f"/proc/{target.site.server.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident(target: Target) -> int:
    """Return the server's resident memory in kibibytes."""
    status = Path(f"/proc/{target.site.server.pid}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS")))


def random_frames(seed: int, count: int) -> Iterator[bytes]:
    """Yield `count` random frames: about half have a valid header and random contents, the others random bytes."""
    chance = random.Random(seed)
    for _ in range(count):
        body = chance.randbytes(chance.choice((0, 1, 4, 60, 125)))
        if chance.random() < 0.5:
            first = 0x80 | chance.choice((0x1, 0x1, 0x1, 0x2, 0x9, 0xA))
            mask = chance.randbytes(4)
            masked = bytes(each ^ mask[n % 4] for n, each in enumerate(body))
            yield bytes([first, 0x80 | len(body)]) + mask + masked
        else:
            yield body


def send_random_frames(target: Target, seed: int, count: int) -> None:
    frames, sent = random_frames(seed, count), 0
    while sent < count:
        with socket.create_connection((HOST, target.site.server.port), timeout=PATIENCE) as line:
            line.sendall(upgrade(target, person=target.patient))
            assert line.recv(4096).startswith(b"HTTP/1.1 101")
            with suppress(ConnectionError):
                for random_frame in itertools.islice(frames, 50):
                    sent += 1
                    line.sendall(random_frame)


def test_five_thousand_random_frames_break_nothing(target: Target) -> None:
    with target.unmoved():
        send_random_frames(target, 1, 500)  # first load what is loaded only once, which is no leak
        memory = resident(target)
        send_random_frames(target, 20_261_122, 5000)
    wait_until(lambda: resident(target) - memory < 20 * 1024, "20 MiB at most are held in the end")
