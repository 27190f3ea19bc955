"""The benchmark's measurements ("blocks"): each block is a function that measures one server.

A block returns a value for each metric. `stack` has the compared servers, and `name` says which of them to measure.
`_round` is the round's number, which the blocks of this module ignore.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import psycopg

from benchmarks.load import LoadError, Page, Run, percentile
from benchmarks.stack import Stack
from benchmarks.targets import Target
from payments_site.demo.process import Process

Values = Mapping[str, float]
SITE, NODE, USUAL, FLOOR, POSTGRES = ("uvicorn", "daphne"), "node", "usual", "floor", "postgres"
RETURN = {"delay_least": 1.5, "delay_most": 4.5}  # seconds until a page that lost its socket comes back
WARM = 20  # events that are posted first and not counted


@dataclass(frozen=True, slots=True)
class Size:
    rounds: int = 5
    latency_events: int = 300
    sockets: int = 1000
    fan_events: int = 20
    burst_events: int = 200
    day_seconds: int = 60
    idle_sockets: int = 2000
    ingest_events: int = 2000
    idle_seconds: int = 30
    browser_events: int = 40
    requests: int = 100


FULL = Size()
QUICK = Size(1, 10, 100, 3, 20, 2, 200, 60, 1, 3, 5)


@dataclass(frozen=True, slots=True)
class Block:
    """A measurement: its function `measure`, and the servers to measure (`targets`).

    `measure` receives the round's number, so that each round can use other payments.
    """

    name: str
    targets: tuple[str, ...]
    measure: Callable[[Stack, str, Size, int], Values]


def cpu_seconds(process: Process) -> float:
    fields = open(f"/proc/{process.pid}/stat").read().rpartition(")")[2].split()  # noqa: PTH123, SIM115
    return (int(fields[11]) + int(fields[12])) / 100


def resident_kilobytes(process: Process) -> float:
    with open(f"/proc/{process.pid}/status") as status:  # noqa: PTH123
        return next(float(line.split()[1]) for line in status if line.startswith("VmRSS:"))


def accepted(run: Run) -> Run:
    """Return `run`, or raise LoadError if the server answered any event with a status other than 200."""
    if run.refused:
        statuses = {event.status for event in run.events}
        raise LoadError(f"{run.refused} of {len(run.events)} events were not taken: {sorted(statuses)}")
    return run


def events_for(name: str, count: int) -> int:
    """Return how many events are posted to a server: a sixth of `count` to the usual Django way, which is slow."""
    return max(4, count // 6) if name == USUAL else count


def client_share(run: Run) -> Values:
    return {"client": run.client_share}


def latency(stack: Stack, name: str, size: Size, _round: int) -> Values:
    """Measure the milliseconds from posting an event until one socket receives its frame. Posts one event at a time."""
    target, count = stack.target(name), events_for(name, size.latency_events)
    with target.client(target.staff_pages(1), target.posts(WARM + count), wait=1) as client:
        run = accepted(client.go())
    delays = run.delays(skip=WARM)
    return {"p50": percentile(delays, 0.5), "p99": percentile(delays, 0.99), "lost": run.lost, **client_share(run)}


def fan(stack: Stack, name: str, size: Size, _round: int) -> Values:
    """Measure the milliseconds from posting an event until the last of many staff sockets has received its frame."""
    target, count = stack.target(name), events_for(name, size.fan_events)
    with target.client(target.staff_pages(size.sockets), target.posts(3 + count), wait=1) as client:
        run = accepted(client.go())
    return {"p50": percentile(run.delays(skip=3), 0.5), "lost": run.lost, **client_share(run)}


def burst(stack: Stack, name: str, size: Size, _round: int) -> Values:
    """Measure the frames per second that many sockets receive while eight connections post events without pause."""
    target = stack.target(name)
    posts = target.posts(size.burst_events)
    with target.client(target.staff_pages(size.sockets), posts, conns=8, idle=12, patience=120) as client:
        run = accepted(client.go())
    return {"lost": run.lost, "per_second": run.messages / run.span(), **client_share(run)}


def clinic_day(stack: Stack, name: str, size: Size, _round: int) -> Values:
    """Measure the milliseconds from posting an event until all of 50 staff pages receive its frame, as on a busy day.

    20 events arrive each second, while many patients' pages are connected and receive nothing.
    """
    target = stack.target(name)
    pages = [*target.patient_pages(size.idle_sockets), *target.staff_pages(50)]
    posts = target.posts(20 * size.day_seconds)
    with target.client(pages, posts, conns=16, rate=20, idle=12, patience=size.day_seconds + 90) as client:
        run = accepted(client.go())
    delays = run.delays(skip=WARM)
    return {"p50": percentile(delays, 0.5), "p99": percentile(delays, 0.99), "lost": run.lost, **client_share(run)}


def ingest(stack: Stack, name: str, size: Size, _round: int) -> Values:
    """Measure how many events per second the server accepts over 32 connections while no page is open."""
    target, count = stack.target(name), events_for(name, size.ingest_events)
    with target.client([], target.posts(64), conns=32, patience=120) as client:
        client.go()
    with target.client([], target.posts(count), conns=32, patience=120) as client:
        run = accepted(client.go())
    return {"per_second": count / run.span(), **client_share(run)}


def transactions(stack: Stack, _name: str, size: Size, _round: int) -> Values:
    """Measure how many single-row transactions per second PostgreSQL commits over one connection, without Django."""
    with psycopg.connect(stack.postgres.url, autocommit=True) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS floor (id bigserial PRIMARY KEY, body text)")
        done, end = 0, time.monotonic() + min(3, size.idle_seconds)
        while time.monotonic() < end:
            connection.execute("INSERT INTO floor (body) VALUES (%s)", ["x" * 200])
            done += 1
    return {"per_second": done / min(3, size.idle_seconds)}


def memory(stack: Stack, name: str, size: Size, _round: int) -> Values:
    """Measure the kilobytes of memory that each idle socket takes in a newly started process."""
    target = stack.target(name)
    target.restart()
    with target.client(target.staff_pages(40), target.posts(WARM), wait=1) as client:
        client.go()
    time.sleep(min(1, size.idle_seconds))
    before = resident_kilobytes(target.processes[0])
    with target.client(target.staff_pages(size.sockets), []) as client:
        time.sleep(min(2, size.idle_seconds))
        after = resident_kilobytes(target.processes[0])
        client.go()
    return {"kilobytes": (after - before) / size.sockets}


def cut(stack: Stack, name: str, size: Size, _round: int) -> Values:
    """Close all sockets, post an event, and measure the seconds until all sockets are open again and have the event.

    This is done twice: pages reconnect after the pause RETURN (metric "seconds") or almost at once (metric "at_once").
    """
    target = stack.target(name)
    at_once = {"delay_least": 0.05, "delay_most": 0.1}  # seconds; harder for the server than RETURN
    found = {}
    for metric, delays in (("seconds", RETURN), ("at_once", at_once)):
        pages, posts = target.staff_pages(size.sockets), target.posts(1)
        with target.client(pages, posts, cut=1, at_once=size.sockets, **delays) as client:
            run = accepted(client.go())
        if run.ready < size.sockets:
            raise LoadError(f"{run.ready} of {size.sockets} sockets came back in {run.seconds:.0f} s")
        found[metric] = run.seconds
    return found


def idle(stack: Stack, name: str, size: Size, _round: int) -> Values:
    """Measure the percentage of one CPU core that the server uses for idle sockets and their heartbeats."""
    target = stack.target(name)
    with target.client(idle_pages(target, size), []) as client:
        time.sleep(min(3, size.idle_seconds))
        before, started = cpu_seconds(target.processes[0]), time.monotonic()
        time.sleep(size.idle_seconds)
        used = (cpu_seconds(target.processes[0]) - before) / (time.monotonic() - started)
        client.go()
    return {"percent": 100 * used}


def idle_pages(target: Target, size: Size) -> list[Page]:
    """Return `size.idle_sockets` pages: half of them staff pages (but at most 1,000), and the rest patients' pages."""
    staff = min(size.idle_sockets // 2, 1000)
    return [*target.staff_pages(staff), *target.patient_pages(size.idle_sockets - staff)]
