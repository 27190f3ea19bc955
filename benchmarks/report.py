"""Writes the benchmark's results as tables to read (RESULTS.md) and as data (results.json)."""

import datetime
import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.rows import Result

FOLDER = Path(__file__).parent
PEERS = {"node": "Node", "usual": "usual Django", "floor": "floor", "postgres": "PostgreSQL alone", "": ""}
PACKAGES = ("django", "channels", "uvicorn", "uvloop", "httptools", "daphne", "psycopg", "dj-stripe", "channels-redis")


def machine() -> dict[str, str]:
    cpu = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
    memory = re.search(r"MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text())
    try:
        node = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        node = "none"
    return {
        "cores": str(len(os.sched_getaffinity(0))), "cpu": cpu[1] if cpu else platform.machine(),
        "memory": f"{int(memory[1]) / 2**20:.0f} GB" if memory else "", "kernel": platform.release(),
        "python": sys.version.split()[0], "node": node, **{name: version(name) for name in PACKAGES},
    }  # fmt: skip


def processor_times() -> tuple[int, int]:
    """Return the processors' clock ticks since the machine started: all of them, and those that other machines took.

    A virtual machine shares its host's processors with other machines, which makes measurements less exact.
    """
    ticks = [int(field) for field in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    return sum(ticks), ticks[7]


def number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.2f}"


def cells(row: Result) -> list[str]:
    met = {True: "met", False: "**missed**", None: ""}[row.met]
    value, peer = f"{number(row.value)} {row.unit}", ""
    if row.peer:
        peer = f"{PEERS[row.peer]}: {number(row.peer_value)} {row.unit}"
    spread = f"{row.low:.2f} to {row.high:.2f}" if row.rounds > 1 else ""
    return [row.what, row.server, value, peer, f"{row.ratio:.2f}" if row.peer else "", spread, row.target, met]


SECTIONS = {
    "workers": "Several processes behind one Redis",
    "scale": "Scale",
    "costs": "Where an event's time goes",
    "client": "Load client",
}
STOLEN = "During the last run the host gave {:.0f} % of the processors' time to other machines, which adds noise.\n"
HEAD = ["what", "server", "measured", "beside", "ratio", "lowest to highest", "target", ""]


def markdown(rows: Sequence[Sequence[str]], head: Sequence[str] = HEAD) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def plain(rows: Sequence[Sequence[str]], head: Sequence[str] = HEAD) -> str:
    lines = [list(head), *[[cell.replace("**", "") for cell in row] for row in rows]]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)


def read_results(folder: Path) -> dict[str, Any]:
    path = folder / "results.json"
    return dict(json.loads(path.read_text())) if path.exists() else {}


def write_results(folder: Path, rows: Sequence[Result], **parts: Any) -> None:
    """Write RESULTS.md and results.json with `rows`, and keep earlier rows of measurements that did not run this time.

    `parts` may have further tables, by their names in SECTIONS, and `stolen`, the percentage of processor time that the
    host gave to other machines.
    """
    folder.mkdir(parents=True, exist_ok=True)
    before = read_results(folder)
    fresh = {row.block for row in rows}
    old = [Result(**row) for row in before.get("rows", []) if row["block"] not in fresh]
    together = sorted([*rows, *old], key=lambda row: order(row.block))
    data = before | {"machine": machine(), "rows": [row.as_json() for row in together]} | parts
    (folder / "results.json").write_text(json.dumps(data, indent=1) + "\n")
    (folder / "RESULTS.md").write_text(text(data, together))


def order(block: str) -> int:
    from benchmarks.rows import ROWS

    return next((place for place, row in enumerate(ROWS) if row.block == block), 99)


def text(data: dict[str, Any], rows: Sequence[Result]) -> str:
    met = [row.met for row in rows if row.met is not None]
    parts = [
        "# Measured\n",
        f"{sum(met)} of {len(met)} targets met. Written by `./run bench`; how to read it: [README.md](README.md).",
        "`ratio` is ours to the peer's in the same round: the median of the rounds, from lowest to highest.\n",
        markdown([cells(row) for row in rows]),
        "## Machine\n",
        ", ".join(f"{name} {value}" for name, value in data["machine"].items()) + "\n",
        *([STOLEN.format(data["stolen"])] if "stolen" in data else []),
    ]
    for name, title in SECTIONS.items():
        if name in data:
            parts += [f"## {title}\n", data[name]["about"] + "\n", markdown(data[name]["rows"], data[name]["head"])]
    return "\n".join(parts)


def today() -> str:
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
