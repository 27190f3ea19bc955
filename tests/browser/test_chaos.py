"""Tests that pages are up to date after 200 changes amid faults of every kind, and showed no change twice."""

import os
import random
from collections.abc import Iterator

import pytest

from tests import services
from tests.browser.conftest import NewContext
from tests.faults.chaos.checks import page_differences, problems
from tests.faults.chaos.faults import CLASSIC
from tests.faults.chaos.rounds import storm
from tests.faults.chaos.world import Setup, World, open_world
from tests.waits import wait_until

pytestmark = [pytest.mark.faults, pytest.mark.redis, pytest.mark.nightly, pytest.mark.timeout(300)]

PER_SECOND = 6.0


@pytest.fixture
def world(
    postgres_server: services.Postgres, postgres_template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    seed = int(os.environ.get("CHAOS_SEED", random.randrange(10**6)))
    print(f"CHAOS_SEED={seed}")  # noqa: T201 pytest shows it when the test fails
    with services.redis() as redis:
        if redis.process is None or postgres_server.process is None:
            pytest.skip("TEST_*_URL name servers that aren't ours to kill")
        name = postgres_server.create_database(postgres_template)
        url = postgres_server.database_url(name)
        with open_world(
            tmp_path_factory.mktemp("site"), url, postgres_server.process, redis.process, Setup(seed)
        ) as world:
            yield world
        postgres_server.drop_database(name)


def test_two_hundred_changes_in_a_storm(world: World, new_context: NewContext) -> None:
    world.open_screens(new_context)
    world.open_tabs(of_each_person=1)
    stripe = world.begin_telling(PER_SECOND, each=10)
    try:
        faults, seconds = storm(world)
    finally:
        stripe.end()
    figures = f"{sum(life.changes for life in world.lives)} changes, {len(faults)} faults; right after {seconds:.1f} s"
    print(figures, dict(stripe.answers))  # noqa: T201 a figure to read
    assert set(faults) == set(CLASSIC)
    assert world.screens[1].look()["nap"] > 900  # ms: the tab was really frozen
    assert sum(life.changes for life in world.lives) == len(stripe.acknowledged) == 200
    wait_until(lambda: not [*page_differences(world)], "every page is connected and right")
    assert problems(world) == []
