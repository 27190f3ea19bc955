"""Builds and reads WebSocket frames as RFC 6455 describes them, without the library that the site uses for this."""

import struct
from itertools import cycle

CONT, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
MASK = b"\x37\xfa\x21\x3d"  # the mask of the RFC's examples


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True, reserved: int = 0, mask: bytes = MASK) -> bytes:
    """Return a frame. `reserved` is the three reserved bits as a number; a server's frames have no mask (b"")."""
    masked = 0x80 if mask else 0
    head = bytes([fin << 7 | reserved << 4 | opcode])
    if len(payload) < 126:
        head += bytes([masked | len(payload)])
    elif len(payload) < 65536:
        head += bytes([masked | 126]) + struct.pack("!H", len(payload))
    else:
        head += bytes([masked | 127]) + struct.pack("!Q", len(payload))
    hidden = bytes(byte ^ key for byte, key in zip(payload, cycle(mask), strict=False)) if mask else payload
    return head + mask + hidden


def close(code: int, reason: bytes = b"") -> bytes:
    """Return the payload of a close frame."""
    return struct.pack("!H", code) + reason


def frames_in(data: bytes) -> list[tuple[int, bytes]]:
    """Return the opcode and payload of each frame in what a server sent. Raise AssertionError if a frame is masked."""
    found = []
    while data:
        size, start = data[1], 2
        assert size < 128, "a server doesn't mask"
        if size > 125:
            start += 2 if size == 126 else 8
            size = int.from_bytes(data[2:start], "big")
        assert len(data) >= start + size, "half a frame"
        found.append((data[0] & 15, data[start : start + size]))
        data = data[start + size :]
    return found
