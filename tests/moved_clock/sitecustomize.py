"""Moves the clock of each Python process that has this folder in its PYTHONPATH, by CLOCK_AHEAD seconds.

A whole site with its sample data so lives at one moment, whenever it runs.
"""

import os
import time

import time_machine

if ahead := float(os.environ.get("CLOCK_AHEAD", "0")):
    time_machine.travel(time.time() + ahead, tick=True).start()
