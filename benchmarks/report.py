"""Writes the benchmark's results as tables to read (RESULTS.md) and as data (results.json)."""

import datetime
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.rows import ROWS, Result

FOLDER = Path(__file__).parent
PEERS = {
    "node": "Node", "usual": "usual Django", "floor": "floor", "postgres": "PostgreSQL alone", "one": "1 process",
    "smallest": "smallest", "": "",
}  # fmt: skip
RESULTS = ("RESULTS.md", "results.json")
LEAST_ROUNDS, MOST_STOLEN = 5, 10  # what is published: rounds at least, percent of the processors' time at most
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
        "python": f"{sys.version.split()[0]} in {sys.base_prefix}", "node": node,
        **{name: version(name) for name in PACKAGES},
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
    "imports": "Importing appointments",
    "client": "Load client",
}
STOLEN = "The host gave other machines {} of the processors' time, which adds noise.\n"
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

    `parts` may have further tables, by their names in SECTIONS.
    """
    folder.mkdir(parents=True, exist_ok=True)
    before = read_results(folder)
    fresh = {row.block for row in rows}
    old = [Result(**row) for row in before.get("rows", []) if row["block"] not in fresh]
    together = sorted([*rows, *old], key=lambda row: order(row.block))
    save(folder, before | {"machine": machine(), "rows": [row.as_json() for row in together]} | parts)


def save(folder: Path, data: dict[str, Any]) -> None:
    (folder / "results.json").write_text(json.dumps(data, indent=1) + "\n")
    (folder / "RESULTS.md").write_text(text(data, [Result(**row) for row in data["rows"]]))


def commit() -> str:
    """Return the id of the last commit that changed anything but the results, or "" if files have changed since."""
    others = ["--", ".", *(f":!benchmarks/{name}" for name in RESULTS)]
    try:
        changed = git("status", "--porcelain", *others)
        return "" if changed else git("log", "-1", "--format=%h", *others)
    except (OSError, subprocess.CalledProcessError):
        return ""


def git(*arguments: str) -> str:
    command = ["git", *arguments]
    return subprocess.run(command, cwd=FOLDER.parent, capture_output=True, text=True, check=True).stdout.strip()


def begin_run(run: Path, draft: Path, commit: str) -> None:
    """Prepare the folder `run` for a run's results: with those in `draft` if they are of this commit, or else empty."""
    run.mkdir(parents=True, exist_ok=True)
    for name in RESULTS:
        (run / name).unlink(missing_ok=True)
        if commit and read_results(draft).get("commit") == commit:
            shutil.copyfile(draft / name, run / name)


def finish_run(run: Path, part: str, commit: str, stolen: float) -> None:
    """Note in the results the commit that was measured, and the percentage of time that the host took during `part`."""
    data = read_results(run)
    save(run, data | {"commit": commit, "stolen": data.get("stolen", {}) | {part: stolen}})


def reason_against(commit: str, stolen: float) -> str:
    """Return why the results of a run can't be kept for publishing, or ""."""
    if not commit:
        return "files have changed since the last commit"
    if stolen > MOST_STOLEN:
        return f"the host took {stolen:.0f} % of the processors' time; {MOST_STOLEN} % are allowed"
    return ""


def incomplete_blocks(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Return the blocks that lack a row of the table, or whose rows were measured in less than LEAST_ROUNDS rounds."""
    measured = {(row["block"], row["what"], row["server"], row["peer"]): row["rounds"] for row in rows}
    wanted = {(row.block, row.what, server, row.peer) for row in ROWS for server in row.limits}
    return sorted({key[0] for key in wanted if measured.get(key, 0) < LEAST_ROUNDS})


def copy_results(source: Path, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in RESULTS:
        shutil.copyfile(source / name, folder / name)


def order(block: str) -> int:
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
        *([f"Commit {data['commit']}.\n"] if data.get("commit") else []),
        *([STOLEN.format(shares(data["stolen"]))] if data.get("stolen") else []),
    ]
    for name, title in SECTIONS.items():
        if name in data:
            parts += [f"## {title}\n", data[name]["about"] + "\n", markdown(data[name]["rows"], data[name]["head"])]
    return "\n".join(parts)


def shares(stolen: dict[str, float]) -> str:
    """Return, for example, "5 % (compare), 2 % (workers)"."""
    return ", ".join(f"{share:.0f} % ({part})" for part, share in stolen.items())


def today() -> str:
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
