"""`./run bench`: the site beside its peers on this machine. See benchmarks/README.md."""

import argparse
import math
import signal
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

from benchmarks import blocks, report
from benchmarks.blocks import FLOOR, FULL, NODE, POSTGRES, QUICK, SITE, USUAL, Block, Size
from benchmarks.browser import browser
from benchmarks.costs import costs
from benchmarks.load import CACHE
from benchmarks.pages import pages
from benchmarks.rows import results
from benchmarks.scale import scale
from benchmarks.stack import Stack
from benchmarks.workers import workers

BLOCKS = (
    Block("latency", (*SITE, NODE, USUAL, FLOOR), blocks.latency),
    Block("browser", (*SITE, NODE), browser),
    Block("fan", (*SITE, NODE, USUAL, FLOOR), blocks.fan),
    Block("burst", (*SITE, NODE), blocks.burst, rounds=3),
    Block("ingest", (*SITE, NODE, USUAL, POSTGRES), blocks.ingest),
    Block("pages", SITE, pages),
    Block("cut", (*SITE, NODE), blocks.cut),
    Block("memory", (*SITE, NODE), blocks.memory, rounds=3),
    Block("idle", SITE, blocks.idle, rounds=3),
    Block("day", (*SITE, NODE), blocks.clinic_day, rounds=2),
)


class Bench:
    """Values by block, target and metric, then by round; a failed round has none."""

    def __init__(self, stack: Stack, size: Size, folder: Path) -> None:
        self.stack, self.size, self.folder = stack, size, folder
        self.measured: dict[tuple[str, str, str], dict[int, float]] = defaultdict(dict)
        self.failures: list[str] = []
        self.began = report.processor_times()

    def run(self, block: Block) -> None:
        """Rounds in turn: each begins with another target, so that no one always comes first."""
        for number in range(min(self.size.rounds, block.rounds)):
            turn = number % len(block.targets)
            for name in (*block.targets[turn:], *block.targets[:turn]):
                self.measure(block, name, number)
        report.keep(self.folder, results(self.measured, report.today()), **self.circumstances())

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
        time.sleep(0.3)  # goodbyes of the last client

    def circumstances(self) -> dict[str, object]:
        (all_before, stolen_before), (all_now, stolen_now) = self.began, report.processor_times()
        stolen = 100 * (stolen_now - stolen_before) / max(1, all_now - all_before)
        return {"client": self.client_shares(), "stolen": stolen}

    def client_shares(self) -> dict[str, object]:
        """Its CPU, so that you see that it was not the bottleneck; as before for blocks that were not measured."""
        shares = {
            (block, target): f"{100 * max(values.values()):.0f} % of a core"
            for (block, target, metric), values in self.measured.items()
            if metric == "client"
        }
        before = report.stored(self.folder).get("client", {"rows": []})["rows"]
        rows = {(block, target): share for block, target, share in before} | shares
        about = "Its CPU in the busiest round of each block: far from a whole core, the servers are what is measured."
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
    print(f"written to {folder}/RESULTS.md and results.json")
    print("\n".join(f"FAILED {failure}" for failure in bench.failures), end="\n" if bench.failures else "")
    return int(bool(bench.failures))


def main() -> int:
    parser = argparse.ArgumentParser(prog="./run bench", description=__doc__)
    parser.add_argument("part", nargs="?", choices=("compare", "scale", "workers", "costs"), default="compare")
    parser.add_argument("--quick", action="store_true", help="small numbers, under 2 minutes: shows that all works")
    names = [block.name for block in BLOCKS]
    parser.add_argument("--only", nargs="+", choices=names, default=[], metavar="BLOCK", help=", ".join(names))
    parser.add_argument("--rounds", type=int, help=f"{FULL.rounds} unless said; some blocks take fewer")
    parser.add_argument("--payments", type=int, nargs="+", default=[1000, 100_000], help="for scale: sizes to compare")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("bench: told to end"))  # and stop what was started
    size = QUICK if given.quick else FULL
    if given.rounds:
        size = blocks.Size(**{field: getattr(size, field) for field in size.__slots__} | {"rounds": given.rounds})
    folder = CACHE / "quick" if given.quick else report.FOLDER  # small numbers are no results
    if given.quick:
        print("bench: small numbers, whatever the rows are called: they show that all works, not how fast it is")
    if given.part == "costs":
        return costs(folder)
    if given.part == "scale":
        return scale(given.payments, size, folder)
    return workers(size, folder) if given.part == "workers" else compare(size, given.only, folder)


if __name__ == "__main__":
    sys.exit(main())
