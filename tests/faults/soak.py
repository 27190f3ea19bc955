"""`./run soak` serves 500 open pages for an hour while parts of the site restart, and checks that nothing grows.

Web process 1 runs all the time; its memory, open files and threads are measured every minute. In turn, web process 2,
Redis and PostgreSQL restart. All is served by uvicorn, with the options and garbage collection of production.
"""

import argparse
import itertools
import os
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import django

if __name__ == "__main__":
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
    django.setup()

from payments_site.demo.process import Process
from payments_site.demo.site import Site
from tests import services
from tests.faults.chaos.checks import leaked_sockets, problems, sockets_of, wrong_pages
from tests.faults.chaos.usage import POOL, Usage, usage
from tests.faults.chaos.world import Setup, World, open_world

PER_SECOND = 5.0  # events
A_PERSON = 16  # pages; a person may have few more
PATIENTS_OF_TEN = 7
WARM_UP = 10  # minutes after which nothing may grow any more
GROWTH = 1.1  # the factor by which memory may differ from that at the end of the warm-up
SPARE = 8  # open files and threads that may come and go, such as those of the connection pool
STALE = 5.0  # seconds after which a page that lacks a change counts as stale, while nothing restarts
RECOVERY = 15.0  # and after a restart
SESSIONS = {"SESSION_IDLE_MINUTES": "600", "SESSION_HOURS": "24"}  # nobody is signed out meanwhile


class Minute(NamedTuple):
    number: int
    event: str  # what restarted
    told: int
    right_after: float  # seconds until all pages had all changes
    stale: int
    pages: int  # whose sockets web process 1 holds; they come and go when process 2 restarts
    used: Usage

    def line(self) -> str:
        used = f"{self.used.mebibytes:8.1f} {self.pages:6} {self.used.files:6} {self.used.threads:8}"
        used += f" {self.used.connections:12}"
        return f"{self.number:6} {self.told:7,} {self.right_after:11.1f} s {self.stale:6} {used}  {self.event}"


HEADING = (
    f"{'minute':>6} {'events':>7} {'right after':>13} {'stale':>6} {'MiB':>8} {'pages':>6} {'files':>6}"
    f" {'threads':>8} {'connections':>12}  restarted"
)


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./run soak", description=__doc__)
    parser.add_argument("--minutes", type=int, default=60, help="default 60; the first ten are a warm-up")
    parser.add_argument("--pages", type=int, default=500, help="default 500")
    parser.add_argument("--restart-every", type=int, default=5, metavar="MINUTES", help="default 5")
    return parser.parse_args()


def restarts(world: World) -> Iterator[tuple[str, Process, signal.Signals]]:
    """Yield, without end, what restarts next: its name, the process, and the signal that ends it in an orderly way."""
    yield from itertools.cycle((
        ("web process 2", world.webs[1], signal.SIGTERM),
        ("Redis", world.redis, signal.SIGTERM),
        ("PostgreSQL", world.postgres, signal.SIGINT),
    ))  # fmt: skip


def minutes(world: World, options: argparse.Namespace) -> Iterator[Minute]:
    """Yield what each minute brought. Events go on all the time."""
    began, turns = time.monotonic(), restarts(world)
    for number in range(1, options.minutes + 1):
        time.sleep(max(0.0, began + number * 60 - time.monotonic()))
        event = ""
        if number % options.restart_every == 0 and number < options.minutes:
            event, process, end = next(turns)
            process.stop(seconds=30, sent=end)
            process.start()
        limit = RECOVERY if event else STALE
        truth = world.wait_for_truth(limit)
        told = len(world.stripe.acknowledged)
        yield Minute(
            number, event, told, truth.seconds, len(truth.never), sockets_of(world.web_urls[0]), usage(world)[0]
        )


def grown(rows: list[Minute]) -> Iterator[str]:
    """Yield a sentence for each resource of which web process 1 held more, or less, after the warm-up.

    Files are counted without the sockets of pages; `leaked_sockets` counts those.
    """
    if len(rows) <= WARM_UP:
        return
    first, *later = (row.used._replace(files=row.used.files - row.pages) for row in rows[WARM_UP - 1 :])
    for last in later:
        if not first.mebibytes / GROWTH <= last.mebibytes <= first.mebibytes * GROWTH:
            yield f"web process 1 held {first.mebibytes:.0f} MiB at minute {WARM_UP}, and {last.mebibytes:.0f} later"
        if last.connections > POOL * 2 + 1:  # 1: the connection that counted the others
            yield f"the web processes held {last.connections} connections to PostgreSQL"
    for name in ("files", "threads"):
        if getattr(later[-1], name) > getattr(first, name) + SPARE:
            had, has = getattr(first, name), getattr(later[-1], name)
            yield f"web process 1 held {had} {name} at minute {WARM_UP}, and {has} in the end"


def main() -> int:
    options = parse()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 16384)), hard))
    people = max(3, -(-options.pages // A_PERSON))
    patients = people * PATIENTS_OF_TEN // 10
    with ExitStack() as stack:
        postgres = stack.enter_context(services.postgres())
        redis = stack.enter_context(services.redis())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="soak-")))
        if postgres.process is None or redis.process is None:
            sys.exit("soak: TEST_*_URL name servers that aren't ours to restart; unset them")
        database = postgres.database_url(postgres.create_database())
        Site(folder / "template", 0, 0, DATABASE_URL=database, REDIS_URL=redis.url).make_database()
        setup = Setup(0, people - patients, patients, uvicorn=True, settings=SESSIONS)
        world = stack.enter_context(open_world(folder, database, postgres.process, redis.process, setup))
        world.open_tabs(A_PERSON)
        say(f"soak: {len(world.tabs)} pages of {setup.staff} staff and {patients} patients\n{HEADING}")
        stripe = world.begin_telling(PER_SECOND, each=10**9)
        stack.callback(stripe.end)
        rows = []
        for row in minutes(world, options):
            rows.append(row)
            say(row.line())
        stripe.pause()
        world.wait_for_truth()
        wrong = [f"minute {row.number}: {row.stale} pages were stale" for row in rows if row.stale]
        wrong += [*grown(rows), *leaked_sockets(world), *problems(world)]
        wrong += [f"{len(wrong_pages(world))} pages are wrong"] if wrong_pages(world) else []
        say(f"answers {dict(stripe.answers)}, slowest 200 after {stripe.slowest:.1f} s")
        say("\n".join(wrong or ["Nothing lost, nothing twice, no page stale, nothing grew."]))
        return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
