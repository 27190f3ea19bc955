"""Tests of the benchmarks: the load client times every frame, and servers are compared within one round."""

import shutil
import sys
from pathlib import Path

import pytest

from benchmarks import load
from benchmarks.rows import Row, result
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
