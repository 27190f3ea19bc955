"""Profiles the webhook: which queries an event sends to PostgreSQL, and which functions take most of its time.

`./run bench costs` makes a site and runs `python -m benchmarks.costs`, which prints JSON, with the site's settings.
"""

import cProfile
import json
import logging
import pstats
import re
import tempfile
import time
from pathlib import Path
from typing import Any

import django

from benchmarks import report
from benchmarks.events import completed, payment_id, signature
from benchmarks.stack import Stack

WARM, EVENTS, FIRST, SHOWN = 30, 300, 12_000, 30
HEAD = ["function", "ms an event", "share"]
ABOUT = (
    "Each event takes {messages} messages to PostgreSQL, {wall:.1f} ms, and {cpu:.1f} ms of this process's CPU besides "
    "PostgreSQL's. Times of functions include what they call; profiling makes Python slower, but not the waiting:"
)


def costs(folder: Path) -> int:
    with tempfile.TemporaryDirectory(prefix="bench-") as place, Stack(Path(place)) as stack:
        print("bench: starting PostgreSQL and filling the site", flush=True)
        stack.fill_site("site", "--payments", "20000")
        found = json.loads(stack.site("costs").python("-m", "benchmarks.costs").splitlines()[-1])
    rows = [[name, f"{ms:.2f}", f"{100 * share:.0f} %"] for name, ms, share in found["functions"]]
    numbered = [[str(number), text] for number, text in enumerate(found["messages"], 1)]
    print(report.plain(numbered, ["", "message"]), report.plain(rows, HEAD), sep="\n\n")
    about = ABOUT.format(messages=len(numbered), wall=found["wall"], cpu=found["cpu"])
    print(about)
    report.write_results(folder, [], costs={"about": about, "head": HEAD, "rows": rows})
    return 0


def measure() -> dict[str, Any]:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    from payments.gateway.webhooks import answer

    deliveries = [delivery(number) for number in range(FIRST, FIRST + WARM + 1 + 2 * EVENTS)]
    for one in deliveries[:WARM]:
        response = answer(one)
        if response.status_code != 200 or response.content != b"applied":
            raise ValueError(f"{response.status_code} {response.content!r}")
    with CaptureQueriesContext(connection) as queries:
        answer(deliveries[WARM])
    started, used = time.perf_counter(), time.process_time()
    for one in deliveries[WARM + 1 : WARM + 1 + EVENTS]:
        answer(one)
    wall, cpu = time.perf_counter() - started, time.process_time() - used
    profile = cProfile.Profile()
    profile.enable()
    for one in deliveries[WARM + 1 + EVENTS :]:
        answer(one)
    profile.disable()
    messages = [re.sub(r"\s+", " ", query["sql"])[:110] for query in queries.captured_queries]
    each = 1000 / EVENTS
    return {"messages": messages, "wall": wall * each, "cpu": cpu * each, "functions": functions(profile)}


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
