"""Explores the live protocol to its end: every order of everything that can happen in a small world of pages.

The pages run the real live-source.js and live-entries.js, in a browser that browser.mjs imitates; the server is a model
(server.mjs), which is compared with the real hub and fan-out. world.mjs says what can happen, and what must then hold.
worlds.json lists how often each thing happens, and mutations.json the guards whose absence must be noticed.
"""

import json
import logging
import subprocess
from collections.abc import Callable
from operator import itemgetter
from pathlib import Path
from typing import Any

import pytest
from django.db import DEFAULT_DB_ALIAS, connections

from payments.live import hub, rendering
from payments.models import Payment, StatusChange
from tests.js.test_js import NODE, has_test_runner

from .process import Process, described, mutate, prepare

logger = logging.getLogger(__name__)  # pytest shows what it is told with --log-cli-level=INFO
HERE = Path(__file__).parent
WORLDS = json.loads((HERE / "worlds.json").read_text())
MUTATIONS = json.loads((HERE / "mutations.json").read_text())
pytestmark = pytest.mark.skipif(not has_test_runner(), reason="needs Node.js 20 or newer")


def node(file: str, argument: str) -> list[Any]:
    """Run a file in Node.js, and return the lines that it prints, which are JSON."""
    command = [str(NODE), "--max-old-space-size=4096", str(HERE / file), argument]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def explore(**job: Any) -> dict[str, Any]:
    """Explore a world, and return the result; main.mjs says what `job` may hold."""
    [result] = node("main.mjs", json.dumps(job))
    return dict(result)


def check(name: str) -> None:
    result = explore(plan=WORLDS[name])
    logger.info("%s: %s", name, {key: value for key, value in result.items() if key != "trace"})
    assert not result["wrong"], "\n".join([result["wrong"], *result["trace"]])


@pytest.mark.parametrize("name", [name for name, plan in WORLDS.items() if not plan.get("nightly")])
def test_no_page_is_wrong_unawares_and_no_event_is_lost_or_repeated(name: str) -> None:
    check(name)


@pytest.mark.nightly
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", [name for name, plan in WORLDS.items() if plan.get("nightly")])
def test_so_it_is_in_larger_worlds(name: str) -> None:
    check(name)


@pytest.mark.slow
@pytest.mark.parametrize(
    "guard",
    [
        pytest.param(guard, marks=pytest.mark.nightly if each.get("nightly") else [])
        for guard, each in MUTATIONS.items()
    ],
)
def test_without_a_guard_the_explorer_finds_what_goes_wrong(guard: str) -> None:
    mutation = MUTATIONS[guard]
    result = explore(plan=mutation["plan"], edits=mutation["edits"], shortest=True)
    logger.info("%s", "\n  ".join([guard, result["wrong"], *result["trace"]]))
    assert result["wrong"], f"{result['states']} states, and nothing is wrong in any"


def runs(number: int) -> list[Any]:
    """Return so many random runs of the model: lists of steps, each with the messages that it sent."""
    return node("runs.mjs", str(number))


@pytest.fixture
def process(book: Callable[..., Payment], monkeypatch: pytest.MonkeyPatch) -> Process:
    """Return a process with eight changes that can be committed, and with two entries loaded at once."""
    for _ in range(8):
        book()
    changes = StatusChange.objects.select_related("payment__appointment").order_by("pk")
    process = Process(list(changes), connections[DEFAULT_DB_ALIAS])
    prepare(monkeypatch, process, batch=2)
    return process


async def differs(process: Process, runs: list[Any]) -> str:
    """Let the real hub and fan-out do what the model did, and return the steps after which they differ, or ""."""
    for run in runs:
        await process.begin(committed=1)
        for number, (step, *sent) in enumerate(run):
            expected = sorted((described(name, json.loads(text)) for name, text in sent), key=itemgetter(0))
            try:
                told: object = await process.perform(step)
            except LookupError:
                told = "nothing, because it can't do this"
            if told != expected:
                done = [" ".join(map(str, each[0])) for each in run[: number + 1]]
                return "\n".join([*done, f"the model: {expected}", f"the process: {told}"])
    process.stop()
    return ""


@pytest.mark.django_db
async def test_the_real_fan_out_sends_what_the_model_sends(process: Process) -> None:
    assert not await differs(process, runs(75))


@pytest.mark.nightly
@pytest.mark.timeout(1200)
@pytest.mark.django_db
async def test_the_real_fan_out_sends_what_the_model_sends_in_many_runs(process: Process) -> None:
    assert not await differs(process, runs(1000))


@pytest.mark.slow
@pytest.mark.django_db
@pytest.mark.parametrize("guard", [guard for guard, mutation in MUTATIONS.items() if "python" in mutation])
async def test_without_a_guard_the_real_fan_out_differs_from_the_model(
    process: Process, guard: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The model and the code both have the guard: the model needs it, and the comparison notices that it is missing."""
    mutated = mutate(**MUTATIONS[guard]["python"])
    for module, name in ((hub, "Fanout"), (rendering, "entries_after")):
        if name in mutated:
            monkeypatch.setattr(module, name, mutated[name])
    assert await differs(process, runs(500))
