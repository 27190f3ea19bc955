"""Measures how an event, a page and a poll slow down as a database grows, such as from 1,000 to 1,000,000 payments."""

import datetime
import statistics
import tempfile
import time
from pathlib import Path

from benchmarks import report
from benchmarks.blocks import WARM, Size, accepted
from benchmarks.fill import DAYS_BACK
from benchmarks.load import percentile
from benchmarks.pages import DESK, POLL, milliseconds, queries
from benchmarks.rows import SMALLEST, Measured, results
from benchmarks.stack import Stack
from benchmarks.targets import Numbers

CHANGES = 5  # status changes of each payment that is not fresh; a change makes two feed entries
HEAD = [
    "payments",
    "feed entries",
    "event p50, ms",
    "event p99, ms",
    "day list, ms",
    "queries",
    "poll, ms",
    "queries",
    "filled in",
]
ABOUT = "One uvicorn process, one socket; each event is the first of its payment. Medians of {rounds} rounds."


def fresh(payments: int) -> int:
    """Return how many payments in a database of `payments` get no status changes; events are posted about these."""
    return min(5000, payments // 2)


def entries(payments: int) -> int:
    return 2 * CHANGES * (payments - fresh(payments))


def scale(sizes: list[int], size: Size, folder: Path) -> int:
    """Measure a site with each number of payments in `sizes`; write results to `folder`, and return the exit status."""
    found: dict[int, dict[int, list[float]]] = {payments: {} for payments in sizes}
    seconds, failures = dict[int, float](), list[str]()
    with tempfile.TemporaryDirectory(prefix="bench-") as place, Stack(Path(place)) as stack:
        for payments in sizes:
            print(
                f"bench: filling a database with {payments:,} payments, {entries(payments):,} feed entries",
                flush=True,
            )
            started = time.monotonic()
            try:
                prepare(stack, payments)
            except Exception as error:  # noqa: BLE001 the other sizes still count
                failures.append(f"{payments:,} payments were not made: {type(error).__name__}: {error}")
                print(f"FAILED {failures[-1]}", flush=True)
                continue
            seconds[payments] = time.monotonic() - started
        for number in range(size.rounds):
            for payments in seconds:
                try:
                    found[payments][number] = one_round(stack, payments, size)
                except Exception as error:  # noqa: BLE001 the other rounds still count
                    failures.append(f"{payments:,} payments, round {number + 1}: {type(error).__name__}: {error}")
                    print(f"FAILED {failures[-1]}", flush=True)
                    continue
                shown = " ".join(report.number(value) for value in found[payments][number])
                print(f"scale {payments:,}, round {number + 1}: {shown}", flush=True)
    rows = []
    for payments in filter(found.get, sizes):
        values = [report.number(statistics.median(each)) for each in zip(*found[payments].values(), strict=True)]
        rows.append([f"{payments:,}", f"{entries(payments):,}", *values, f"{seconds[payments]:.0f} s"])
    ratios = results(largest_to_smallest(found), report.today())
    print(report.plain(rows, HEAD), report.plain([report.cells(row) for row in ratios]), sep="\n\n")
    about = ABOUT.format(rounds=size.rounds)
    report.write_results(folder, ratios, scale={"about": about, "head": HEAD, "rows": rows})
    return int(bool(failures))


def largest_to_smallest(found: dict[int, dict[int, list[float]]]) -> Measured:
    """Return, in the form that `results` takes, the values of the largest and of the smallest size in `found`.

    `found` has the values of `one_round`, by number of payments and by round.
    """
    places = {"event_p50": 0, "page_ms": 2, "poll_ms": 4}  # of these metrics among a round's values
    return {
        ("scale", target, metric): {number: values[place] for number, values in found[payments].items()}
        for target, payments in (("uvicorn", max(found)), (SMALLEST, min(found)))
        for metric, place in places.items()
    }


def prepare(stack: Stack, payments: int) -> None:
    database = f"scale_{payments}"
    stack.fill_site(database, f"--payments={payments}", f"--fresh={fresh(payments)}", f"--changes={CHANGES}")
    stack.site_target(database, "uvicorn", Numbers(payments, payments - fresh(payments) + 1), database)


def one_round(stack: Stack, payments: int, size: Size) -> list[float]:
    name = f"scale_{payments}"
    target = stack.only(name)
    events = min(size.latency_events, payments // 2 // size.rounds - WARM)  # so that there are fresh payments for all
    with target.client(target.staff_pages(1), target.posts(WARM + events), wait=1) as client:
        delays = accepted(client.go()).delays(skip=WARM)
    day = datetime.datetime.now(datetime.UTC).date() + datetime.timedelta(days=1 - DAYS_BACK)
    desk, poll = f"{DESK}?day={day}", POLL.format(at=target.position("staff"))
    desk_queries, poll_queries = queries(stack, desk, poll, database=name)
    desk_ms, poll_ms = (milliseconds(target, path, size.requests) for path in (desk, poll))
    return [percentile(delays, 0.5), percentile(delays, 0.99), desk_ms, desk_queries, poll_ms, poll_queries]
