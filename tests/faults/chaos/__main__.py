"""`./run chaos` starts its own site, PostgreSQL, Redis and Chromium, injects random faults, and prints the results."""

import argparse
import os
import secrets
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import django

if __name__ == "__main__":
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
    django.setup()

from payments_site.demo.site import Site
from tests import chromium, services
from tests.faults.chaos.checks import leaked_sockets, problems
from tests.faults.chaos.rounds import rounds, table
from tests.faults.chaos.usage import Usage, calm, kept, usage
from tests.faults.chaos.world import Setup, open_world

PER_SECOND = 5.0  # events
TABS = 4  # simulated pages of each person, besides the three pages in Chromium
CALM = 15.0  # seconds without a fault at the beginning and at the end


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./run chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=5, help="how long things go wrong; default 5")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6), help="what goes wrong, and when")
    parser.add_argument("--server", choices=("daphne", "uvicorn"), default="daphne", help="default daphne")
    return parser.parse_args()


def say(line: str) -> None:
    """Print a line of progress; on a terminal, it overwrites the line that the cursor is on."""
    sys.stdout.write(f"\r\033[K{line}" if sys.stdout.isatty() else f"{line}\n")
    sys.stdout.flush()


def said(held: Usage) -> str:
    return ", ".join(f"{amount:.0f} {name}" for name, amount in held._asdict().items())


def main() -> int:
    options = parse()
    if problem := chromium.problem():
        sys.exit(f"chaos: {problem}")
    began = time.monotonic()
    say(f"chaos: seed {options.seed}; starting PostgreSQL, Redis, two web processes and Chromium\n")
    with ExitStack() as stack:
        postgres = stack.enter_context(services.postgres())
        redis = stack.enter_context(services.redis())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="chaos-")))
        if postgres.process is None or redis.process is None:
            sys.exit("chaos: TEST_*_URL name servers that aren't ours to kill; unset them")
        database = postgres.database_url(postgres.create_database())
        Site(folder / "template", 0, 0, DATABASE_URL=database, REDIS_URL=redis.url).make_database()
        setup = Setup(options.seed, uvicorn=options.server == "uvicorn")
        world = stack.enter_context(open_world(folder, database, postgres.process, redis.process, setup))
        browser = stack.enter_context(chromium.running())
        world.open_screens(browser.new_context)
        world.open_tabs(TABS)
        stripe = world.begin_telling(PER_SECOND, each=10**9)
        stack.callback(stripe.end)
        wrong, before = list(calm(world, CALM)), usage(world)
        stripe.go_on()
        rows = rounds(world, options.minutes, say)
        stripe.pause()
        world.wait_for_truth()
        wrong += [*leaked_sockets(world), *calm(world, CALM)]
        world.wait_for_truth()
        after = usage(world)
        wrong += [*problems(world), *kept(before, after)]
        say(f"chaos: seed {options.seed}, {(time.monotonic() - began) / 60:.1f} minutes\n\n{table(rows)}\n\n")
        for number, (first, last) in enumerate(zip(before, after, strict=True), 1):
            say(f"web process {number} held {said(first)}; in the end {said(last)}\n")
        say(f"answers {dict(stripe.answers)}, slowest 200 after {stripe.slowest:.1f} s\n")
        say("\n".join(wrong or ["Nothing lost, nothing twice, every page right."]) + "\n")
        return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
