"""`python -m tests.faults.moved_clock FILE [daphne's arguments]` runs daphne with a clock that can be moved.

On SIGUSR1 it sets the clock ahead of the real time by the number of seconds in FILE (0 is the real time), and deletes
FILE.
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
    """Shift the wall clock, but not the monotonic clock, as when somebody sets a real machine's clock."""
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
