"""daphne on a machine whose clock is moved while it runs: SIGUSR1 puts it as many seconds ahead as a file says,
and takes the file away.

python -m tests.faults.moved_clock FILE [daphne's arguments]
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
    """Wall-clock time alone; the monotonic clock goes on, as it does on a real machine."""
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
