"""Functions that wait for a condition, not for a fixed time, so that a slow machine makes tests slower but not fail."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

PATIENCE = 60.0  # seconds; only a failing test waits this long
PAUSE = 0.02  # seconds between two checks


def wait_until(condition: Callable[[], object], what: str, seconds: float = PATIENCE) -> None:
    """Wait until `condition` returns a true value. Raise AssertionError with the text `what` after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds:g} s in vain: {what}"
        time.sleep(PAUSE)


def wait_for_account_emails() -> None:
    """Wait until each e-mail about an account is sent, or given up after an error."""
    from accounts import mail  # it can't be imported before Django is set up

    places: Any = mail._places
    wait_until(lambda: places._value == places._initial_value, "e-mails sent")


async def until(condition: Callable[[], object], what: str, seconds: float = PATIENCE) -> None:
    """Wait as `wait_until` does, but let the event loop run its other tasks meanwhile."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds:g} s in vain: {what}"
        await asyncio.sleep(PAUSE)
