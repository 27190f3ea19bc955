"""Profiles the webhook: which queries an event sends to PostgreSQL, and which functions take most of its time.

`./run bench costs` makes a site and runs `python -m benchmarks.costs`, which prints JSON, with the site's settings.
"""

import cProfile
import itertools
import json
import logging
import pstats
import re
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import django

from benchmarks import report
from benchmarks.events import completed, payment_id, signature
from benchmarks.stack import Stack

WARM, EVENTS, BATCH, FIRST, SHOWN = 64, 640, 32, 12_000, 30
HEAD = ["function", "ms an event", "share"]
ABOUT = (
    "An event alone takes {messages} messages to PostgreSQL, {wall:.1f} ms, and {cpu:.1f} ms of this process's CPU "
    "besides PostgreSQL's; in a batch of {batch} an event takes {wall_of_batch:.1f} ms and {cpu_of_batch:.1f} ms of "
    "CPU. Times of functions are those in batches and include what they call; profiling makes Python slower, but not "
    "the waiting:"
)


def costs(folder: Path) -> int:
    with tempfile.TemporaryDirectory(prefix="bench-") as place, Stack(Path(place)) as stack:
        print("bench: starting PostgreSQL and filling the site", flush=True)
        stack.fill_site("site", "--payments", "20000")
        found = json.loads(stack.site("costs").python("-m", "benchmarks.costs").splitlines()[-1])
    rows = [[name, f"{ms:.2f}", f"{100 * share:.0f} %"] for name, ms, share in found["functions"]]
    numbered = [[str(number), text] for number, text in enumerate(found["messages"], 1)]
    print(report.plain(numbered, ["", "message"]), report.plain(rows, HEAD), sep="\n\n")
    about = ABOUT.format(batch=BATCH, **found | {"messages": len(numbered)})
    print(about)
    report.write_results(folder, [], costs={"about": about, "head": HEAD, "rows": rows})
    return 0


def measure() -> dict[str, Any]:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    deliveries = iter([delivery(number) for number in range(FIRST, FIRST + 2 * WARM + 1 + 3 * EVENTS)])
    for size in (1, BATCH):
        handle(deliveries, WARM, size)
    with CaptureQueriesContext(connection) as queries:
        handle(deliveries, 1, 1)
    sent = [query["sql"] for query in queries.captured_queries if query["sql"] not in ("BEGIN", "COMMIT")]
    wall, cpu = handle(deliveries, EVENTS, 1)
    wall_of_batch, cpu_of_batch = handle(deliveries, EVENTS, BATCH)
    profile = cProfile.Profile()
    profile.enable()
    handle(deliveries, EVENTS, BATCH)
    profile.disable()
    return {
        "messages": [re.sub(r"\s+", " ", sql)[:110] for sql in sent],
        "wall": wall,
        "cpu": cpu,
        "wall_of_batch": wall_of_batch,
        "cpu_of_batch": cpu_of_batch,
        "functions": functions(profile),
    }


def handle(deliveries: Iterator[Any], count: int, size: int) -> tuple[float, float]:
    """Handle the next `count` deliveries in batches of `size`; return the milliseconds and CPU milliseconds of each."""
    from payments.gateway import webhooks

    started, used = time.perf_counter(), time.process_time()
    for start in range(0, count, size):
        some = itertools.islice(deliveries, min(size, count - start))
        batch: Any = [webhooks.open_delivery(one) for one in some]
        webhooks.handle(batch)
        if {incoming.outcome for incoming in batch} != {"applied"}:
            raise ValueError([incoming.outcome for incoming in batch])
        for incoming in batch:
            webhooks.report(incoming)
    return 1000 * (time.perf_counter() - started) / count, 1000 * (time.process_time() - used) / count


def delivery(number: int) -> Any:
    from payments.gateway.signatures import Delivery

    body = json.dumps(completed(payment_id(number))).encode()
    return Delivery(body, signature(body), "127.0.0.1", None)


def functions(profile: cProfile.Profile) -> list[tuple[str, float, float]]:
    """Return (name, milliseconds per event, share of the whole time) of each of the slowest functions, slowest first.

    Only functions of this site, and of the libraries that talk to Stripe and PostgreSQL, are listed.
    """
    stats: Any = pstats.Stats(profile)
    slowest = sorted(stats.stats.items(), key=lambda item: -item[1][3])
    whole = slowest[0][1][3]
    found = [
        (f"{'/'.join(Path(path).parts[-2:])}:{name}", 1000 * values[3] / EVENTS, values[3] / whole)
        for (path, _line, name), values in slowest
        if re.search(r"/(payments|djstripe|stripe|psycopg)/", path) or name in ("as_sql", "save_base")
    ]
    return found[:SHOWN]


if __name__ == "__main__":
    django.setup()
    logging.disable(logging.CRITICAL)  # the cost of writing the log is not part of this benchmark
    print(json.dumps(measure()))
