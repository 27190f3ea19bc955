"""An ASGI application that echoes what it receives over WebSockets, to test wires on real servers without a database.

GET returns `state`, and how many tasks and objects of connections there are now.
"""

import asyncio
import gc
import json
import weakref
from typing import Any

from payments.live import wires
from payments.live.wires import Messages, Receive, Send, UvicornWire, Wire, wire_of

gc.disable()  # so that objects which reference each other in a cycle stay, and are noticed

state: dict[str, int] = {"left": 0}
"""How many wires of each class were made, and how many have ended ("left")."""
uvicorns: weakref.WeakSet[Any] = weakref.WeakSet()  # uvicorn's own objects of connections that were taken over
protocols: weakref.WeakSet[Any] = weakref.WeakSet()  # our objects of these connections


def count(what: str) -> None:
    state[what] = state.get(what, 0) + 1


class Echo:
    """Sends each text back. "close 4400" closes the connection with this code; "abort" drops it; "raise" is a fault."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def receive(self, message: str | bytes) -> None:
        word, _, number = message.partition(" ") if isinstance(message, str) else ("", "", "")
        if word == "close":
            self._wire.close(int(number))
        elif word == "abort":
            self._wire.abort()
        elif word == "flood":
            for _ in range(int(number)):
                self._wire.write(Messages(b"x" * 100_000))
        elif word == "raise":
            raise RuntimeError("a fault that the test asked for")
        else:
            self._wire.write(Messages(message.encode() if isinstance(message, str) else message.hex().encode()))

    def leave(self) -> None:
        count("left")


async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    if scope["type"] == "http":
        kept = {"tasks": len(asyncio.all_tasks()), "uvicorns": len(uvicorns), "protocols": len(protocols)}
        body = json.dumps(state | kept).encode()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"connection", b"close")]})
        await send({"type": "http.response.body", "body": body})
        return
    await receive()
    await send({"type": "websocket.accept"})
    wire = wire_of(receive, send)
    count(type(wire).__name__)
    if isinstance(wire, UvicornWire):
        uvicorns.update((send.__self__, send.__self__.conn))  # type: ignore[attr-defined]
        protocols.add(wire._protocol)
    if scope["path"] == "/slow":
        await asyncio.sleep(0.3)
    await wire.serve(Echo(wire))


async def hurried_app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    """Serve as `app`, but wait only 0.5 s for a page to answer a close frame."""
    wires.CLOSE_SECONDS = 0.5
    await app(scope, receive, send)
