"""`python -m tests.faults.moved_clock FILE [daphne's arguments]` runs daphne with a clock that can be moved.

At SIGUSR1 it moves the clock ahead by the seconds that FILE contains, and deletes FILE.
"""

import datetime
import signal
import sys
from pathlib import Path
from typing import Any

import time_machine
from daphne.cli import CommandLineInterface

shift = Path(sys.argv.pop(1))
moved: list[Any] = []


def move(*_: object) -> None:
    """Move the wall clock, but not the monotonic clock, as on a real machine."""
    while moved:
        moved.pop().stop()
    if seconds := float(shift.read_text()):
        then = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=seconds)
        moved.append(time_machine.travel(then, tick=True))
        moved[0].start()
    shift.unlink()


if __name__ == "__main__":
    signal.signal(signal.SIGUSR1, move)
    CommandLineInterface.entrypoint()
