"""The rows of the results table: each names a metric, the server to compare it with, and the value to reach."""

import math
import statistics
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.blocks import NODE, POSTGRES, SITE, USUAL

Measured = Mapping[tuple[str, str, str], Mapping[int, float]]  # (block, target, metric): each round's value
UVICORN, DAPHNE = SITE
EVENTS = "events/s"
DOM = "WebSocket message to changed DOM, in the page, p50"
INGEST = "Durable events/s, 32 connections"
BACK = "1,000 sockets cut: until all are back with the right head"
AT_ONCE = "1,000 sockets cut, nobody waiting before coming back"
ONE, SMALLEST = "one", "smallest"  # peers that are this site with one process, or with the smallest database


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the results table: a metric of this site and, if there is a `peer`, its ratio to that server's value.

    `limits` maps each of the site's servers ("uvicorn", "daphne") to a limit for the ratio or, without a peer, for the
    value itself; None means no limit.
    """

    block: str
    metric: str
    what: str
    limits: Mapping[str, float | None]
    peer: str = ""
    unit: str = "ms"
    least: bool = False  # whether the limits are minimums instead of maximums


@dataclass(frozen=True, slots=True)
class Result:
    """A measured row of the results table.

    `value` and `peer_value` are medians over the rounds. `ratio`, `low` and `high` are the median, least and greatest
    of the rounds' ratios of site to peer or, if there is no peer, of the site's values.
    """

    block: str
    what: str
    server: str
    peer: str
    unit: str
    value: float
    peer_value: float | None
    ratio: float
    low: float
    high: float
    target: str
    met: bool | None
    rounds: int
    at: str = ""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def both(limit: float | None) -> dict[str, float | None]:
    return {UVICORN: limit, DAPHNE: limit}


ROWS = (
    Row("latency", "p50", "POST to frame at one socket, p50", {UVICORN: 1.5, DAPHNE: 2.2}, NODE),
    Row("latency", "p50", "POST to frame at one socket, p50", {UVICORN: 0.15, DAPHNE: None}, USUAL),
    Row("latency", "p99", "POST to frame at one socket, p99", {UVICORN: 1.0, DAPHNE: 1.5}, NODE),
    Row("browser", "p50", "POST to changed DOM in Chromium, p50", {UVICORN: 1.6, DAPHNE: 2.2}, NODE),
    Row("browser", "message_p50", DOM, both(2.5)),
    Row("browser", "message_p50", DOM, both(None), NODE),
    Row("fan", "p50", "Last of 1,000 sockets in one audience, p50", {UVICORN: 0.95, DAPHNE: 2.2}, NODE),
    Row("fan", "p50", "Last of 1,000 sockets in one audience, p50", {UVICORN: 0.06, DAPHNE: None}, USUAL),
    Row("burst", "lost", "Burst of 200 events to 1,000 sockets: frames lost", both(0), unit="frames"),
    Row("burst", "per_second", "Burst: frames a second", {UVICORN: 1.8, DAPHNE: 0.8}, NODE, "frames/s", least=True),
    Row("day", "p99", "Clinic day: 2,000 patients, 50 staff, 20 events/s, p99", {UVICORN: 1.3, DAPHNE: None}, NODE),
    Row("day", "lost", "Clinic day: frames lost", both(0), unit="frames"),
    Row("ingest", "per_second", INGEST, {UVICORN: 1.3, DAPHNE: 0.7}, NODE, EVENTS, least=True),
    Row("ingest", "per_second", INGEST, {UVICORN: 5, DAPHNE: None}, USUAL, EVENTS, least=True),
    Row("memory", "kilobytes", "Memory per idle socket", {UVICORN: 0.5, DAPHNE: 2.6}, NODE, "KB"),
    Row("cut", "seconds", BACK, {UVICORN: 1.0, DAPHNE: 1.1}, NODE, "s"),
    Row("cut", "at_once", AT_ONCE, {UVICORN: 1.3, DAPHNE: 1.5}, NODE, "s"),
    Row("idle", "percent", "CPU for 2,000 idle sockets with beats", {UVICORN: 1.2, DAPHNE: 3.0}, unit="% of a core"),
    Row("pages", "page_ms", "Day list page, 100,000 appointments, median", both(None), unit="ms"),
    Row("pages", "page_queries", "Day list page: queries", both(8), unit="queries"),
    Row("pages", "poll_queries", "Poll with nothing new: queries", both(1), unit="queries"),
    Row("pages", "poll_share", "Poll with nothing new, of a page render", both(0.3), unit="x"),
    Row("latency", "p50", "POST to frame at one socket, p50", both(None), "floor"),
    Row("fan", "p50", "Last of 1,000 sockets in one audience, p50", both(None), "floor"),
    Row("ingest", "per_second", "Durable events/s, to single-row transactions/s", both(None), POSTGRES, EVENTS),
    Row("workers", "per_second", "Durable events/s of 2 processes", {UVICORN: 1.25}, ONE, EVENTS, least=True),
    Row("scale", "event_p50", "Event p50, largest database", {UVICORN: 1.1}, SMALLEST),
    Row("scale", "page_ms", "Day list page, largest database", {UVICORN: 1.1}, SMALLEST),
    Row("scale", "poll_ms", "Poll with nothing new, largest database", {UVICORN: 1.1}, SMALLEST),
)  # fmt: skip


def result(row: Row, server: str, measured: Measured, at: str) -> Result | None:
    """Return the result of `row` for the site on `server`, with the date `at`; None if the row was not measured."""
    ours = _values(measured, row.block, server, row.metric)
    theirs = _values(measured, row.block, row.peer, row.metric)
    ratios = list(ours.values())
    if row.peer:
        ratios = [value / max(theirs[number], 1e-9) for number, value in ours.items() if number in theirs]
    if not ratios:
        return None
    ratio, limit = statistics.median(ratios), row.limits[server]
    met = None if limit is None else (ratio >= limit if row.least else ratio <= limit)
    target = "" if limit is None else f"at {'least' if row.least else 'most'} {limit:g}"
    return Result(
        row.block, row.what, server, row.peer, row.unit, statistics.median(ours.values()),
        statistics.median(theirs.values()) if row.peer else None, ratio, min(ratios), max(ratios), target, met,
        len(ratios), at,
    )  # fmt: skip


def _values(measured: Measured, *of: str) -> dict[int, float]:
    block, target, metric = of
    rounds = measured.get((block, target, metric), {})
    return {number: value for number, value in rounds.items() if not math.isnan(value)}


def results(measured: Measured, at: str) -> list[Result]:
    found = (result(row, server, measured, at) for row in ROWS for server in row.limits)
    return [one for one in found if one]
