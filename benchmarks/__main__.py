"""`./run bench` compares the speed of this site and of other servers on this machine. See benchmarks/README.md."""

import argparse
import functools
import math
import signal
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

from benchmarks import blocks, report
from benchmarks.blocks import FLOOR, FULL, NODE, POSTGRES, QUICK, SITE, USUAL, Block, Size
from benchmarks.browser import browser
from benchmarks.costs import costs
from benchmarks.importing import ROUNDS, ROWS, imports
from benchmarks.load import CACHE
from benchmarks.pages import pages
from benchmarks.report import LEAST_ROUNDS
from benchmarks.rows import results
from benchmarks.scale import scale
from benchmarks.stack import Stack
from benchmarks.workers import workers

BLOCKS = (
    Block("latency", (*SITE, NODE, USUAL, FLOOR), blocks.latency),
    Block("browser", (*SITE, NODE), browser),
    Block("fan", (*SITE, NODE, USUAL, FLOOR), blocks.fan),
    Block("burst", (*SITE, NODE), blocks.burst),
    Block("ingest", (*SITE, NODE, USUAL, POSTGRES), blocks.ingest),
    Block("pages", SITE, pages),
    Block("cut", (*SITE, NODE), blocks.cut),
    Block("memory", (*SITE, NODE), blocks.memory),
    Block("idle", SITE, blocks.idle),
    Block("day", (*SITE, NODE), blocks.clinic_day),
)


class Bench:
    """Runs the measurements ("blocks") of a benchmark and collects their results.

    `measured` maps (block, server, metric) to a dict from round number to value, in which failed rounds are left out.
    """

    def __init__(self, stack: Stack, size: Size, folder: Path) -> None:
        self.stack, self.size, self.folder = stack, size, folder
        self.measured: dict[tuple[str, str, str], dict[int, float]] = defaultdict(dict)
        self.failures: list[str] = []

    def run(self, block: Block) -> None:
        """Measure all servers in each round and write the results.

        Each round begins with another server, so that none has the advantage of always being first.
        """
        for number in range(self.size.rounds):
            turn = number % len(block.targets)
            for name in (*block.targets[turn:], *block.targets[:turn]):
                self.measure(block, name, number)
        report.write_results(self.folder, results(self.measured, report.today()), client=self.client_shares())

    def measure(self, block: Block, name: str, number: int) -> None:
        started = time.monotonic()
        measure = blocks.transactions if name == POSTGRES else block.measure
        try:
            values = measure(self.stack, name, self.size, number)
        except Exception as error:  # noqa: BLE001 one block's failure must not lose the others
            self.failures.append(f"{block.name} of {name}, round {number + 1}: {type(error).__name__}: {error}")
            print(f"FAILED {self.failures[-1]}", flush=True)
            return
        for metric, value in values.items():
            self.measured[block.name, name, metric][number] = value
        shown = "  ".join(
            f"{metric} {report.number(value)}" for metric, value in values.items() if not math.isnan(value)
        )
        print(f"{block.name:8} {number + 1}  {name:8} {time.monotonic() - started:5.1f} s  {shown}", flush=True)
        time.sleep(0.3)  # until the last client's connections are closed

    def client_shares(self) -> dict[str, object]:
        """Return a table of the load client's CPU use, which shows whether the client was the bottleneck.

        Blocks (measurements) that did not run this time keep their rows from the last run.
        """
        shares = {
            (block, target): f"{100 * max(values.values()):.0f} % of a core"
            for (block, target, metric), values in self.measured.items()
            if metric == "client"
        }
        before = report.read_results(self.folder).get("client", {"rows": []})["rows"]
        rows = {(block, target): share for block, target, share in before} | shares
        about = "Its CPU in the busiest round of each block; well below a whole core, it did not limit the servers."
        return {
            "about": about,
            "head": ["block", "target", "CPU"],
            "rows": [[*key, share] for key, share in rows.items()],
        }


def compare(size: Size, only: list[str], folder: Path) -> int:
    chosen = [block for block in BLOCKS if not only or block.name in only]
    names = dict.fromkeys(name for block in chosen for name in block.targets if name != POSTGRES)
    payments = (20_000, 20_000) if size is QUICK else ()
    with tempfile.TemporaryDirectory(prefix="bench-") as place, Stack(Path(place), *payments) as stack:
        print(f"bench: starting PostgreSQL, Redis, {', '.join(names)}", flush=True)
        failures = stack.prepare(*names)
        bench = Bench(stack, size, folder)
        bench.failures += failures
        for block in chosen:
            bench.run(block)
    rows = results(bench.measured, report.today())
    print(report.plain([report.cells(row) for row in rows]))
    print("\n".join(f"FAILED {failure}" for failure in bench.failures), end="\n" if bench.failures else "")
    return int(bool(bench.failures))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./run bench", description=__doc__)
    parser.add_argument(
        "part", nargs="?", choices=("compare", "scale", "workers", "costs", "import"), default="compare"
    )
    parser.add_argument(
        "--quick", action="store_true", help="small numbers, under 2 minutes, to see that everything works"
    )
    names = [block.name for block in BLOCKS]
    parser.add_argument("--only", nargs="+", choices=names, default=[], metavar="BLOCK", help=", ".join(names))
    parser.add_argument("--rounds", type=int, help=f"default {FULL.rounds}")
    parser.add_argument(
        "--payments", type=int, nargs="+", default=[1000, 100_000], help="the sizes that `scale` compares"
    )
    return parser.parse_args()


def main() -> int:
    given = parse()
    # SIGTERM exits in the normal way, so that the servers are stopped.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("bench: told to end"))
    size = QUICK if given.quick else FULL
    if given.rounds:
        size = blocks.Size(**{field: getattr(size, field) for field in size.__slots__} | {"rounds": given.rounds})
    if given.quick:
        print("bench: the numbers are small, whatever the rows say: they show that it works, not how fast it is")
    parts = {
        "costs": costs,
        "import": functools.partial(imports, 500 if given.quick else ROWS, given.rounds or ROUNDS),
        "scale": functools.partial(scale, given.payments, size),
        "workers": functools.partial(workers, size),
        "compare": functools.partial(compare, size, given.only),
    }
    return run_and_publish(given.part, parts[given.part], quick=given.quick)


def run_and_publish(part: str, run: Callable[[Path], int], *, quick: bool) -> int:
    """Run a part of the benchmark. Publish the results of all parts once the whole table is of this commit."""
    folder, draft = CACHE / "run", CACHE / "draft"
    commit, before = report.commit(), report.processor_times()
    report.begin_run(folder, draft, commit)
    status = run(folder)
    (all_before, stolen_before), (all_now, stolen_now) = before, report.processor_times()
    stolen = 100 * (stolen_now - stolen_before) / max(1, all_now - all_before)
    report.finish_run(folder, part, commit, stolen)
    print(f"the host took {stolen:.0f} % of the processors' time; results are in {folder}")
    if reason := "this was a quick run" if quick else report.reason_against(commit, stolen):
        print(f"not published: {reason}")
        return status
    report.copy_results(folder, draft)
    if blocks := report.incomplete_blocks(report.read_results(draft)["rows"]):
        print(f"not published: at commit {commit} these blocks still need {LEAST_ROUNDS} rounds: {', '.join(blocks)}")
    else:
        report.copy_results(draft, report.FOLDER)
        print(f"published in {report.FOLDER}, for commit {commit}")
    return status


if __name__ == "__main__":
    sys.exit(main())
