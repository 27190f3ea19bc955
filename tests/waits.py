"""Functions that wait for a state instead of a duration, so that a busy machine is slower but fails no test."""

import asyncio
import time
from collections.abc import Callable

PATIENCE = 60.0  # seconds; only a failing test waits this long
PAUSE = 0.02  # seconds between two checks


def wait_until(condition: Callable[[], object], what: str, seconds: float = PATIENCE) -> None:
    """Wait until `condition` returns true. Raises AssertionError with the text `what` after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds:g} s in vain: {what}"
        time.sleep(PAUSE)


async def until(condition: Callable[[], object], what: str, seconds: float = PATIENCE) -> None:
    """Wait like `wait_until`, while the event loop's other tasks go on."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds:g} s in vain: {what}"
        await asyncio.sleep(PAUSE)
