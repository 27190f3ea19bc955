"""Compares the web processes' memory, open files, threads and PostgreSQL connections before and after all faults."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from payments_site.demo.process import Process
from tests.faults.chaos.world import World

MORE = 1.1  # the factor by which usage may grow
SPARE = {"mebibytes": 12, "files": 8, "threads": 4}  # growth allowed on top: caches and pools fill up
POOL = 12  # DATABASE_POOL's default


class Usage(NamedTuple):
    """What one web process uses; only `connections` (to PostgreSQL) counts those of all web processes together."""

    mebibytes: float
    files: int
    threads: int
    connections: int


def usage_of(web: Process, connections: int) -> Usage:
    folder = Path(f"/proc/{web.pid}")
    status = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines())
    resident = int(status["VmRSS"].split()[0]) / 1024
    return Usage(resident, len(list((folder / "fd").iterdir())), int(status["Threads"]), connections)


def usage(world: World) -> list[Usage]:
    [(connections,)] = world.rows("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()")
    return [usage_of(web, connections) for web in world.webs]


def calm(world: World, seconds: float) -> Iterator[str]:
    """Send events for `seconds` without a fault; yield a sentence for each web process that logs a traceback."""
    logged = [web.log_path.stat().st_size for web in world.webs]
    world.stripe.go_on()
    time.sleep(seconds)
    world.stripe.pause()
    for web, before in zip(world.webs, logged, strict=True):
        if "Traceback" in (said := web.log_path.read_bytes()[before:].decode(errors="replace")):
            yield f"{web.name} failed with nothing broken: {said[-2000:]}"


def kept(before: list[Usage], after: list[Usage]) -> Iterator[str]:
    """Yield a sentence for each web process and resource if the process holds far more of it `after` than `before`.

    Connections to PostgreSQL are too many only if they exceed the processes' pools.
    """
    if after[0].connections > POOL * len(after) + 1:  # 1: the connection that counted the others
        yield f"the web processes hold {after[0].connections} connections to PostgreSQL"
    for number, (first, last) in enumerate(zip(before, after, strict=True), 1):
        for name, spare in SPARE.items():
            held, holds = getattr(first, name), getattr(last, name)
            if holds > held * MORE + spare:
                yield f"web process {number} held {held:.0f} {name} before the faults and holds {holds:.0f} after them"
