"""Measures the speed of the site with one, two and four uvicorn processes, which share a database and a Redis."""

import os
import statistics
import tempfile
from collections import defaultdict
from pathlib import Path

from benchmarks import blocks, report
from benchmarks.blocks import Size
from benchmarks.rows import ONE, results
from benchmarks.stack import Stack
from benchmarks.targets import Numbers

COUNTS = (1, 2, 4)
METRICS = ("events", "last", "frames", "lost")
HEAD = ["processes", "durable events/s", "last socket, ms", "burst, frames/s", "burst, lost"]
ABOUT = (
    "Sockets and connections are spread evenly; Redis carries each event to all processes. Medians of {rounds} rounds. "
    "PostgreSQL, Redis and the client share the {cores} cores: more processes than cores add nothing here."
)


def workers(size: Size, folder: Path) -> int:
    found: dict[tuple[int, str], dict[int, float]] = defaultdict(dict)
    failures = list[str]()
    with tempfile.TemporaryDirectory(prefix="bench-") as place, Stack(Path(place)) as stack:
        print("bench: starting PostgreSQL, Redis, and the site in 1, 2 and 4 processes", flush=True)
        stack.fill_site("site", "--payments", str(stack.payments))
        numbers = Numbers(stack.payments)
        for count in COUNTS:
            stack.site_target(str(count), "uvicorn", numbers, workers=count)
        for number in range(size.rounds):
            for count in COUNTS:
                try:
                    values = one_round(stack, count, size, number)
                except Exception as error:  # noqa: BLE001 the other rounds still count
                    failures.append(f"{count} processes, round {number + 1}: {type(error).__name__}: {error}")
                    print(f"FAILED {failures[-1]}", flush=True)
                    continue
                for metric, value in values.items():
                    found[count, metric][number] = value
    rows = [
        [
            str(count),
            *(report.number(statistics.median(found[count, metric].values())) for metric in METRICS),
        ]
        for count in COUNTS
        if found[count, "events"]
    ]
    two_to_one = {
        ("workers", "uvicorn", "per_second"): found[2, "events"],
        ("workers", ONE, "per_second"): found[1, "events"],
    }
    ratios = results(two_to_one, report.today())
    print(report.plain(rows, HEAD), report.plain([report.cells(row) for row in ratios]), sep="\n\n")
    about = ABOUT.format(rounds=size.rounds, cores=len(os.sched_getaffinity(0)))
    report.write_results(folder, ratios, workers={"about": about, "head": HEAD, "rows": rows})
    return int(bool(failures))


def one_round(stack: Stack, count: int, size: Size, number: int) -> dict[str, float]:
    stack.only(str(count))
    events = blocks.ingest(stack, str(count), size, number)["per_second"]
    last = blocks.fan(stack, str(count), size, number)["p50"]
    burst = blocks.burst(stack, str(count), size, number)
    values = {"events": events, "last": last, "frames": burst["per_second"], "lost": burst["lost"]}
    shown = "  ".join(f"{metric} {report.number(value)}" for metric, value in values.items())
    print(f"workers {count}, round {number + 1}: {shown}", flush=True)
    return values
