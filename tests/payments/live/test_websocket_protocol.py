"""Tests of the WebSocket protocol without a network: RFC 6455 case by case, and random bytes cut anywhere."""

import logging
from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode
from websockets.protocol import Protocol, Side

from payments.live.websocket_protocol import MOST_FRAMES, MessageProtocol
from tests.payments.live.websocket_frames import BINARY, CLOSE, CONT, PING, PONG, TEXT, close, frame, frames_in

LIMIT = 65536
Outcome = tuple[list[str | bytes], list[tuple[int, bytes]]]
Case = tuple[bytes, Outcome]


class Heard:
    """A protocol's listener that keeps the messages."""

    def __init__(self) -> None:
        self.messages = list[str | bytes]()
        self.protocol = MessageProtocol(LIMIT, logging.getLogger("test"))
        self.protocol.listener = self

    def receive(self, message: str | bytes) -> None:
        self.messages.append(message)

    def leave(self) -> None:
        raise AssertionError("only a wire calls this")


def outcome(pieces: Iterable[bytes]) -> Outcome:
    """Return the messages in the received bytes, and the frames that answer them; a close frame without its reason."""
    heard = Heard()
    sent = b""
    for piece in pieces:
        heard.protocol.receive_data(piece)
        sent += b"".join(heard.protocol.data_to_send())
    return heard.messages, [(opcode, data[:2] if opcode == CLOSE else data) for opcode, data in frames_in(sent)]


def refused(code: int, *messages: str | bytes) -> Outcome:
    return list(messages), [(CLOSE, close(code))]


def echoed(payload: bytes) -> Outcome:
    return [], [(CLOSE, payload[:2])]


FRAME_SIZES = (0, 125, 126, 127, 65535, 65536)
SIZES: dict[str, Case] = {
    **{f"{size} bytes": (frame(TEXT, b"x" * size), (["x" * size], [])) for size in FRAME_SIZES},
    **{f"{size} binary": (frame(BINARY, b"\xff" * size), ([b"\xff" * size], [])) for size in FRAME_SIZES},
}
CONTROL: dict[str, Case] = {
    "ping": (frame(PING), ([], [(PONG, b"")])),
    "full ping": (frame(PING, b"x" * 125), ([], [(PONG, b"x" * 125)])),
    "ten pings": (frame(PING, b"\0\xff") * 10, ([], [(PONG, b"\0\xff")] * 10)),
    "pong that nobody asked for": (frame(PONG, b"x"), ([], [])),
    "long ping": (frame(PING, b"x" * 126), refused(1002)),
    "long pong": (frame(PONG, b"x" * 126), refused(1002)),
    "long close": (frame(CLOSE, close(1000, b"x" * 124)), refused(1002)),
    "ping in parts": (frame(PING, b"x", fin=False) + frame(CONT, b"y"), refused(1002)),
    "close in parts": (frame(CLOSE, close(1000), fin=False), refused(1002)),
}
PARTS: dict[str, Case] = {
    "two": (frame(TEXT, b"a", fin=False) + frame(CONT, b"b"), (["ab"], [])),
    "empty ones": (frame(TEXT, fin=False) + frame(CONT, fin=False) + frame(CONT), ([""], [])),
    "binary": (frame(BINARY, b"\xc3", fin=False) + frame(CONT, b"\0"), ([b"\xc3\0"], [])),
    "a ping between": (
        frame(TEXT, b"a", fin=False) + frame(PING, b"p") + frame(CONT, b"b"), (["ab"], [(PONG, b"p")])
    ),
    "a pong between": (frame(TEXT, b"a", fin=False) + frame(PONG, b"p") + frame(CONT, b"b"), (["ab"], [])),
    "continuation of nothing": (frame(CONT, b"x"), refused(1002)),
    "continuation after the end": (frame(TEXT, b"a") + frame(CONT, b"b"), refused(1002, "a")),
    "a text between": (frame(TEXT, b"a", fin=False) + frame(TEXT, b"b"), refused(1002)),
    "too big in all": (frame(TEXT, b"x" * LIMIT, fin=False) + frame(CONT, b"x"), refused(1009)),
}  # fmt: skip
BROKEN: dict[str, Case] = {
    **{f"reserved bits {bits}": (frame(TEXT, b"x", reserved=bits), refused(1002)) for bits in (1, 2, 4, 7)},
    **{f"opcode {opcode}": (frame(opcode, b"x"), refused(1002)) for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)},
    "unmasked": (frame(TEXT, b"x", mask=b""), refused(1002)),
    "unmasked ping": (frame(PING, mask=b""), refused(1002)),
    "too big": (frame(TEXT, b"x" * (LIMIT + 1)), refused(1009)),
    "8 EiB announced": (b"\x82\xff" + b"\xff" * 8 + b"\0" * 4, refused(1009)),
    "not a frame": (b"GET / HTTP/1.1\r\n\r\n", refused(1002)),
    "a message first": (frame(TEXT, b"a") + frame(3), refused(1002, "a")),
    "messages afterwards": (frame(3) + frame(TEXT, b"a") + frame(PING), refused(1002)),
}
GOOD_CODES = (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999)
BAD_CODES = (0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535)
CLOSES: dict[str, Case] = {
    **{f"code {code}": (frame(CLOSE, close(code)), echoed(close(code))) for code in GOOD_CODES},
    **{f"code {code}": (frame(CLOSE, close(code)), refused(1002)) for code in BAD_CODES},
    "no code": (frame(CLOSE), echoed(b"")),
    "half a code": (frame(CLOSE, b"\x03"), refused(1002)),
    "a reason": (frame(CLOSE, close(1000, "désolé".encode())), echoed(close(1000))),
    "the longest reason": (frame(CLOSE, close(1000, b"x" * 123)), echoed(close(1000))),
    "a reason that isn't UTF-8": (frame(CLOSE, close(1000, b"\xff")), refused(1007)),
    "frames afterwards": (frame(CLOSE, close(1000)) + frame(TEXT, b"a") + frame(PING), echoed(close(1000))),
}
HIGH = "κόσμε €𐍈\U0010ffff"
UTF8: dict[str, Case] = {
    "many kinds": (frame(TEXT, HIGH.encode()), ([HIGH], [])),
    "cut inside characters": (
        b"".join(frame(CONT if at else TEXT, HIGH.encode()[at : at + 1], fin=False) for at in range(22))
        + frame(CONT, HIGH.encode()[22:]), ([HIGH], [])
    ),
    **{
        f"not {bad.hex()}": (frame(TEXT, b"x" + bad), refused(1007))
        for bad in (b"\x80", b"\xff", b"\xc3", b"\xc0\x80", b"\xe2\x82", b"\xed\xa0\x80", b"\xf4\x90\x80\x80",
                    b"\xf8\x88\x80\x80\x80")
    },
    "not in parts": (frame(TEXT, b"\xc3", fin=False) + frame(CONT, b"\x28"), refused(1007)),
    "not after a good one": (frame(TEXT, b"a") + frame(TEXT, b"\xff"), refused(1007, "a")),
    "not before a good one": (frame(TEXT, b"\xff") + frame(TEXT, b"a"), refused(1007)),
}  # fmt: skip
FLOODS = {
    "pings": frame(PING) * 10_000,
    "empty parts": frame(TEXT, fin=False) + frame(CONT, fin=False) * 10_000,
    "texts": frame(TEXT) * 10_000,
}
GROUPS = {"size": SIZES, "control": CONTROL, "parts": PARTS, "broken": BROKEN, "close": CLOSES, "UTF-8": UTF8}
CASES = {f"{group}: {name}": case for group, cases in GROUPS.items() for name, case in cases.items()}


@pytest.mark.parametrize("case", CASES)
def test_bytes_mean_what_the_rfc_says_wherever_they_are_cut(case: str) -> None:
    data, expected = CASES[case]
    assert outcome([data]) == expected
    places = range(len(data) + 1)
    for place in places if len(data) < 300 else (*places[:16], len(data) // 2, *places[-16:]):
        assert outcome([data[:place], data[place:]]) == expected, place
    if len(data) < 300:
        assert outcome(bytes([byte]) for byte in data) == expected


@pytest.mark.parametrize("flood", FLOODS)
def test_a_flood_of_frames_is_closed_before_all_of_it_is_read(flood: str) -> None:
    messages, answers = outcome([FLOODS[flood]])
    assert messages == ([""] * MOST_FRAMES if flood == "texts" else [])
    assert answers[:-1] == ([(PONG, b"")] * (MOST_FRAMES + 1) if flood == "pings" else [])
    assert answers[-1] == (CLOSE, close(1008))


def test_frames_may_come_again_once_the_count_is_set_back() -> None:
    heard = Heard()
    for _ in range(3):
        heard.protocol.receive_data(frame(TEXT, b"x") * MOST_FRAMES)
        heard.protocol.frames = 0
    assert heard.messages == ["x"] * MOST_FRAMES * 3
    assert heard.protocol.data_to_send() == []


payloads = st.one_of(
    st.binary(max_size=140), st.text(max_size=40).map(str.encode),
    st.sampled_from([125, 126, 127, 4095, 32_768, 65_535, 65_536, 65_537]).map(lambda size: b"x" * size),
    st.integers(0, 65535).map(close), st.tuples(st.integers(998, 1020), st.text(max_size=9)).map(
        lambda parts: close(parts[0], parts[1].encode())
    ),
)  # fmt: skip
usual = st.tuples(st.sampled_from([TEXT, BINARY, CONT, PING, PONG]), st.booleans(), st.just(0), st.just(b"\1\2\3\4"))
masks = st.sampled_from([b"", b"\0\0\0\0"])
odd = st.tuples(st.integers(0, 15), st.booleans(), st.sampled_from([0, 0, 0, 4, 1]), masks)
built = st.tuples(st.one_of(usual, usual, usual, odd), payloads).map(
    lambda each: frame(each[0][0], each[1], fin=each[0][1], reserved=each[0][2], mask=each[0][3])
)
streams = st.lists(st.one_of(built, built, built, st.binary(max_size=20)), max_size=12).map(b"".join)


@st.composite
def cut_streams(draw: st.DrawFn) -> list[bytes]:
    """Return a stream of frames, some of them broken, in pieces."""
    data = draw(streams)
    places = sorted(draw(st.lists(st.integers(0, len(data)), max_size=20)))
    return [data[start:end] for start, end in pairwise([0, *places, len(data)])]


def expected_outcome(data: bytes) -> Outcome:
    """Return what `websockets` itself makes of the bytes, if one byte comes after the other. It doesn't check UTF-8."""
    oracle = Protocol(Side.SERVER, max_size=LIMIT)
    messages, sent = list[str | bytes](), b""
    parts, is_text = b"", False
    for byte in data:
        oracle.receive_data(bytes([byte]))
        sent += b"".join(oracle.data_to_send())
        for event in oracle.events_received():
            assert isinstance(event, Frame)
            if event.opcode not in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
                continue
            is_text = event.opcode is Opcode.TEXT or (is_text and event.opcode is Opcode.CONT)
            parts += bytes(event.data)
            if event.fin:
                try:
                    messages.append(parts.decode() if is_text else parts)
                except UnicodeDecodeError:
                    return messages, [*frames_in(sent), (CLOSE, close(1007))]
                parts = b""
    return messages, [(opcode, data[:2] if opcode == CLOSE else data) for opcode, data in frames_in(sent)]


@settings(deadline=None)
@given(cut_streams())
def test_random_frames_mean_the_same_as_to_the_library_wherever_they_are_cut(pieces: list[bytes]) -> None:
    """Messages and answers are those of `websockets`, which gets the bytes one by one."""
    assert outcome(pieces) == expected_outcome(b"".join(pieces))
