"""The world of a chaos run: PostgreSQL, Redis, two web processes, proxies, pages and Stripe."""

import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from playwright.sync_api import BrowserContext
from psycopg import sql

from payments_site.demo.process import HOST, Process, free_port
from tests.clinic import Clinic
from tests.faults.chaos.proxy import Background, Proxy
from tests.faults.chaos.screen import Screen
from tests.faults.chaos.stripe import Life, Stripe
from tests.faults.tab import Statuses, Tab
from tests.live_site import LiveSite, uvicorn_command
from tests.waits import wait_until

Watcher = Tab | Screen
NewContext = Callable[..., BrowserContext]
EACH = 10  # payments of each patient


@dataclass(frozen=True)
class Setup:
    """How to make a world: the seed of its random choices, its numbers of people, its web server, and more settings.

    daphne serves the site unless `uvicorn` is true.
    """

    seed: int
    staff: int = 2
    patients: int = 2
    uvicorn: bool = False
    settings: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Truth:
    """What World.wait_for_truth returns: how many `seconds` it waited until all pages were up to date.

    `never` are the pages that were not up to date in time; `last` names the page that took longest.
    """

    seconds: float
    never: list[Watcher]
    last: str


class World:
    """The servers, proxies, people and pages of a chaos run.

    Pages connect to the web processes through the proxy `front`, and web processes to Redis through the proxy `wire`.
    Stripe's events go directly to a random web process.
    """

    def __init__(
        self, folder: Path, database_url: str, postgres: Process, redis: Process, background: Background, setup: Setup
    ) -> None:
        self.database_url, self.postgres, self.redis = database_url, postgres, redis
        self.chance = random.Random(setup.seed)
        self.front, self.wire = Proxy(background), Proxy(background, redis.port)
        url = f"http://{HOST}:{self.front.port}"
        settings = {
            "DATABASE_URL": database_url,
            "REDIS_URL": f"redis://{HOST}:{self.wire.port}/0",
            "WEB_PROCESSES": "2",
            "LOG_LEVEL": "WARNING",
            **setup.settings,
        }
        self.site = LiveSite(folder, SITE_URL=url, **settings)
        self.site.url = url
        self.site.others.append(self.site.new_server("web-2", free_port()))
        self.webs = [self.site.server, *self.site.others]
        for web in self.webs if setup.uvicorn else ():
            web.command = uvicorn_command(web.port)
        self.front.backends = [web.port for web in self.webs]
        self.tabs: list[Tab] = []
        self.screens: list[Screen] = []
        self._background, self._setup = background, setup

    def start(self) -> None:
        for web in self.webs:
            web.spawn()
        self.clinic = Clinic(self.site, staff=self._setup.staff, patients=self._setup.patients, each=EACH)
        for web in self.webs:
            web.wait_until_listening()

    def stop(self) -> None:
        for web in self.webs:
            web.stop(seconds=1)
        self.front.close()
        self.wire.close()

    def begin_telling(self, per_second: float, each: int) -> Stripe:
        patients = range(len(self.clinic.patients))
        stories = [self.clinic.story(patient, number) for number in range(EACH) for patient in patients]
        self.lives = [Life(story, kind) for kind, story in enumerate(stories)]
        self.stripe = Stripe(self.clinic, self.lives, self.web_urls, per_second, each)
        return self.stripe

    def open_tabs(self, of_each_person: int) -> None:
        """Open `of_each_person` simulated pages for each person; wait until the server has greeted all of them."""
        heads = self.heads()
        people = [*self.clinic.staff, *self.clinic.patients] * of_each_person
        self.tabs = [Tab(self.site.url, person, heads.get(person.feed, 0)) for person in people]
        for tab in self.tabs:
            self._background.start(tab.live())
        wait_until(lambda: all(tab.greeted_at for tab in self.tabs), "every tab is greeted")

    def open_screens(self, new_context: NewContext) -> None:
        """Open three pages in Chromium: the front desk's list, one patient's list, the other patient's appointment."""
        clerk, (first, second) = self.clinic.staff[0], self.clinic.patients
        one = second.references[0]
        pages = [(clerk, "/desk/", ""), (first, "/appointments/", ""), (second, f"/appointments/{one}/", one)]
        for person, path, reference in pages:
            context = new_context(base_url=self.site.url)
            context.add_cookies([{"name": "sessionid", "value": person.session, "url": self.site.url}])
            self.screens.append(Screen(context, person.feed, path, reference))

    @property
    def web_urls(self) -> list[str]:
        return [f"http://{HOST}:{web.port}" for web in self.webs]

    @property
    def watchers(self) -> list[Watcher]:
        return [*self.tabs, *self.screens]

    def heads(self) -> dict[str, int]:
        return dict(self.rows("SELECT audience, head FROM clinic_payments_feed"))

    def statuses(self) -> Statuses:
        """Return (status, version) of every payment in the database, by public id."""
        rows = self.rows("SELECT public_id::text, status, version FROM clinic_payments_payment")
        return {public_id: (status, version) for public_id, status, version in rows}

    def rows(self, query: str, *values: Any) -> Sequence[tuple[Any, ...]]:
        """Return the query's rows; if the database can't be reached, retry for a minute, then raise the error."""
        deadline = time.monotonic() + 60
        while True:
            try:
                with psycopg.connect(self.database_url, connect_timeout=3) as connection:
                    return connection.execute(query, values).fetchall()
            except psycopg.OperationalError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)

    def wait_for_truth(self, within: float = 60) -> "Truth":
        """Wait at most `within` seconds until every page has received all that is committed at the time of the call."""
        began, heads = time.monotonic(), self.heads()
        behind = last = self.watchers
        while behind and time.monotonic() - began < within:
            last, behind = behind, [watcher for watcher in behind if watcher.cursor < heads[feed_of(watcher)]]
            time.sleep(0.05)
        return Truth(time.monotonic() - began, behind, name_of(last[-1]))


def feed_of(watcher: Watcher) -> str:
    return watcher.feed if isinstance(watcher, Screen) else watcher.person.feed


def name_of(watcher: Watcher) -> str:
    return watcher.path if isinstance(watcher, Screen) else f"tab of {watcher.person.name}"


@contextmanager
def open_world(folder: Path, database_url: str, postgres: Process, redis: Process, setup: Setup) -> Iterator[World]:
    """Start a world in which no page is open yet, yield it, and stop it after the block."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        # For speed, the tests' PostgreSQL does not flush commits to disk; here, commits must survive its crash.
        connection.execute(sql.SQL("ALTER DATABASE {} SET synchronous_commit = on").format(
            sql.Identifier(database_url.rsplit("/", 1)[1])))  # fmt: skip
    with ExitStack() as stack:
        background = Background()
        stack.callback(background.stop)
        world = World(folder, database_url, postgres, redis, background, setup)
        stack.callback(world.stop)
        world.start()
        yield world
