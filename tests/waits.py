"""Waiting for a state, never for a duration: a loaded machine is only slower to reach it."""

import asyncio
import time
from collections.abc import Callable

PATIENCE = 60.0  # seconds; only a test that fails waits so long
PAUSE = 0.02  # seconds between two looks


def wait_until(condition: Callable[[], object], what: str, seconds: float = PATIENCE) -> None:
    """Return once `condition` is true. Raises AssertionError with `what` was waited for after so many seconds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds:g} s in vain: {what}"
        time.sleep(PAUSE)


async def until(condition: Callable[[], object], what: str, seconds: float = PATIENCE) -> None:
    """Do as `wait_until` does while the event loop's other tasks go on."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds:g} s in vain: {what}"
        await asyncio.sleep(PAUSE)
