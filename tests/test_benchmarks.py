"""Tests of the benchmarks: the load client times every frame, and servers are compared within one round."""

import shutil
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from benchmarks import load, report
from benchmarks.importing import WHAT, imports
from benchmarks.rows import ROWS, Result, Row, result, results
from benchmarks.scale import largest_to_smallest
from benchmarks.targets import Numbers, Target
from payments_site.demo.process import Process, free_port
from payments_site.demo.site import ROOT
from tests.services import Service


@pytest.mark.skipif(not (shutil.which("cc") or shutil.which("gcc")), reason="the load client needs a C compiler")
def test_the_load_client_times_every_frame(redis_server: Service, tmp_path: Path) -> None:
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.floor", str(port), redis_server.url, "3400"]
    target = Target("floor", [Process("floor", command, port, tmp_path / "log", {}, cwd=ROOT)], Numbers(10**9), "/")
    target.marker = '"payment_id": "'
    target.up()
    try:
        with target.client(target.staff_pages(60), target.posts(20), wait=1) as client:
            run = client.go()
        with target.client(target.staff_pages(30), target.posts(40), conns=8) as client:
            burst = client.go()
    finally:
        target.stop()
    assert (run.lost, run.refused, run.messages) == (0, 0, 60 * 20)
    assert (burst.lost, burst.refused, burst.messages) == (0, 0, 30 * 40)
    delays = run.delays()
    assert len(delays) == 20
    assert 0 < load.percentile(delays, 0.5) <= max(delays) < 5000
    assert all(event.posted <= event.first <= event.last for event in run.events)


def test_a_ratio_compares_values_of_one_round() -> None:
    row = Row("latency", "p50", "what", {"uvicorn": 1.0}, "node")
    measured: dict[tuple[str, str, str], dict[int, float]] = {
        ("latency", "uvicorn", "p50"): {0: 10, 1: 30, 2: 8, 3: 90},
        ("latency", "node", "p50"): {0: 10, 1: 10, 2: 10},  # the fourth round failed
    }
    found = result(row, "uvicorn", measured, "today")
    assert found
    assert (found.ratio, found.low, found.high, found.met) == (1.0, 0.8, 3.0, True)
    slower = result(row, "uvicorn", measured | {("latency", "uvicorn", "p50"): {0: 12, 1: 30, 2: 8}}, "today")
    assert slower
    assert slower.met is False


def test_what_was_not_measured_has_no_row() -> None:
    row = Row("latency", "p50", "what", {"uvicorn": 1.0}, "node")
    assert result(row, "uvicorn", {("latency", "uvicorn", "p50"): {0: 10}}, "today") is None
    assert result(row, "uvicorn", {("latency", "node", "p50"): {0: 10}}, "today") is None


def row(block: str, *, rounds: int = 5, at: str = "uvicorn", peer: str = "", what: str = "") -> dict[str, Any]:
    return asdict(Result(block, what, at, peer, "ms", 1, None, 1, 1, 1, "", None, rounds))


def whole_table(rounds: int = 5) -> list[dict[str, Any]]:
    return [
        row(one.block, rounds=rounds, at=server, peer=one.peer, what=one.what) for one in ROWS for server in one.limits
    ]


def test_a_table_is_complete_when_each_row_has_five_rounds() -> None:
    whole = whole_table()
    assert report.incomplete_blocks(whole) == []
    assert report.incomplete_blocks([one for one in whole if one["block"] != "workers"]) == ["workers"]
    few = [one | ({"rounds": 4} if one["block"] == "day" else {}) for one in whole]
    assert report.incomplete_blocks(few) == ["day"]


def test_a_run_is_kept_if_it_is_of_a_commit_and_the_host_left_it_the_processors() -> None:
    assert report.reason_against("1a2b3c4", 10) == ""
    assert "12 %" in report.reason_against("1a2b3c4", 12)
    assert "changed" in report.reason_against("", 0)


def test_rows_of_two_commits_never_stand_together(tmp_path: Path) -> None:
    run, draft = tmp_path / "run", tmp_path / "draft"
    report.begin_run(run, draft, "first")
    report.write_results(run, [Result(**row("idle"))])
    report.finish_run(run, "compare", "first", 3)
    report.copy_results(run, draft)
    for commit, blocks in (("first", ["idle", "workers"]), ("second", ["workers"])):
        report.begin_run(run, draft, commit)
        report.write_results(run, [Result(**row("workers"))])
        report.finish_run(run, "workers", commit, 4)
        assert [each["block"] for each in report.read_results(run)["rows"]] == blocks
        assert f"Commit {commit}." in (run / "RESULTS.md").read_text()
    assert "4 % (workers)" in (run / "RESULTS.md").read_text()


def test_a_second_process_and_a_large_database_are_compared_within_one_round() -> None:
    measured = {
        ("workers", "uvicorn", "per_second"): {0: 150.0, 1: 120.0, 2: 140.0},
        ("workers", "one", "per_second"): {0: 100.0, 2: 100.0},
    }
    [two] = results(measured, "today")
    assert (two.ratio, two.met) == (1.45, True)
    sizes = {1000: {0: [10.0, 20, 100, 3, 5, 1]}, 1_000_000: {0: [12.0, 30, 100, 3, 5, 1]}}
    event, page, poll = results(largest_to_smallest(sizes), "today")
    assert (event.ratio, event.met, page.met, poll.ratio) == (1.2, False, True, 1.0)


@pytest.mark.nightly
def test_the_import_s_benchmark_imports_what_it_measures(tmp_path: Path) -> None:
    """The benchmark raises an error unless each step imports all rows."""
    assert imports(20, 1, tmp_path) == 0
    rows = report.read_results(tmp_path)["imports"]["rows"]
    assert [row[0] for row in rows] == list(WHAT.values())
    assert all(float(row[1]) >= 0 for row in rows)
