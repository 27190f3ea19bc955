"""Fixtures for all tests: real servers and whole sites; each test process starts its own.

A test with the marker `postgres` runs on SQLite and on PostgreSQL, with `postgres(only=True)` on PostgreSQL only, and
with `postgres(sqlite_at_night=True)` on SQLite only at night.
"""

import fcntl
import math
import secrets
import shutil
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import time_machine
from django.conf import settings as django_settings
from django.contrib import admin
from django.test import TransactionTestCase
from django.utils import timezone, translation
from hypothesis import HealthCheck, settings
from pytest_django import DjangoDbBlocker
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

from tests import services
from tests.databases import default_database, keep_rows, put_rows_back
from tests.live_site import ForkedSite, LiveSite
from tests.waits import wait_for_account_emails

pytest_plugins = ["tests.left_out"]
FAILED = pytest.StashKey[bool]()
SITES = pytest.StashKey[list[LiveSite]]()
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")  # so that no test fails because the machine is busy
BROWSER = "tests/browser/"
ALL_TABLES = "all_tables"  # the name of a PostgreSQL database
TOGETHER = ("tests/inputs/", "tests/test_demo.py")
# `./run test fast` skips the tests that use these fixtures.
SERVERS = {"make_site", "attacked_site", "shell", "postgres_server", "cli_binary"}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if marker := metafunc.definition.get_closest_marker("postgres"):
        metafunc.fixturenames.insert(0, "database")  # before pytest-django's fixtures, which open a transaction
        postgres = pytest.param("postgres", marks=pytest.mark.slow)
        sqlite = pytest.param("sqlite", marks=pytest.mark.nightly if marker.kwargs.get("sqlite_at_night") else [])
        engines = [postgres] if marker.kwargs.get("only") else [sqlite, postgres]
        metafunc.parametrize("database", engines, indirect=True)


class Scheduling(LoadScopeScheduling):  # type: ignore[misc]
    """A pytest-xdist scheduler: any process may run any test, but one process runs all tests of a path in TOGETHER.

    They share a live site, or a demo's data, which another process would only wait for.

    One process begins with the browser tests, which keep the processor busy while the other processes wait for servers.
    It runs no others after them, because of the event loop that Playwright leaves.
    """

    browser_node: Any = None

    def _split_scope(self, nodeid: str) -> str:
        return next((path for path in TOGETHER if nodeid.startswith(path)), nodeid)

    def _assign_work_unit(self, node: Any) -> None:
        last = next(reversed(self.workqueue))
        if self.browser_node is None and last.startswith(BROWSER) and len(self.nodes) > 1:
            self.browser_node = node
        if node is self.browser_node:
            self.workqueue.move_to_end(last, last=False)
        super()._assign_work_unit(node)

    def _reschedule(self, node: Any) -> None:
        others_left = self.workqueue and not next(reversed(self.workqueue)).startswith(BROWSER)
        if node is self.browser_node and others_left:
            node.shutdown()
        else:
            super()._reschedule(node)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    return Scheduling(config, log)


@pytest.hookimpl(wrapper=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> Generator[None]:
    for item in items:
        names = getattr(item, "fixturenames", [])
        if item.get_closest_marker("postgres") and "database" not in names:
            names.insert(0, "database")  # pytest drops the name that pytest_generate_tests inserted
        if "browser" in item.path.relative_to(item.config.rootpath).parts:
            item.add_marker("browser")
        if "redis_server" in names:
            item.add_marker("redis")
        if not SERVERS.isdisjoint(names):
            item.add_marker("slow")
    yield  # pytest-django sorts the tests by their use of the database
    if "workerinput" in vars(config):
        items[:] = spread(items)
    # A process runs browser tests last: Playwright leaves an event loop in which asyncio tests and the ORM fail.
    items.sort(key=lambda item: item.get_closest_marker("browser") is not None)


def spread(items: list[pytest.Item]) -> list[pytest.Item]:
    """Return `items` in an order in which tests that wait for servers and tests that compute alternate.

    The tests that wait take long, so they end at four fifths of the list. Each kind keeps its own order.
    """
    waiting = {item: None for item in items if item.get_closest_marker("slow") and not uses_the_orm(item)}
    others = [item for item in items if item not in waiting]
    places = {item: 0.8 * number / len(waiting) for number, item in enumerate(waiting)}
    places |= {item: number / len(others) for number, item in enumerate(others)}
    return sorted(places, key=places.__getitem__)


def uses_the_orm(item: pytest.Item) -> bool:
    fixtures = {"db", "transactional_db", "django_db_setup"}
    return bool(item.get_closest_marker("django_db")) or not fixtures.isdisjoint(getattr(item, "fixturenames", []))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        item.stash[FAILED] = True
        for site in item.stash.get(SITES, []):
            report.sections += [(f"{process.log_path}", process.tail(60)) for process in site.processes]
    return report


@pytest.fixture(autouse=True)
def _keep_to_this_test(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget rows that may be in another test's database or rolled back, and start no thread that outlives the test."""
    from django.contrib.contenttypes.models import ContentType

    from payments.gateway import background, djstripe  # models can't be imported before Django is set up
    from payments.models.installation import own_site_id

    own_site_id.cache_clear()
    djstripe.forget_endpoints()
    ContentType.objects.clear_cache()
    monkeypatch.setattr(background.EventWriter, "wake", lambda writer: None)


@pytest.fixture(autouse=True)
def _send_all_emails() -> Iterator[None]:
    """Wait after the test until its e-mails about accounts are sent, so that the next test doesn't find them."""
    yield
    wait_for_account_emails()


@pytest.fixture(autouse=True)
def _default_language() -> None:
    """Begin each test in the default language, because a request leaves its language active in the test's thread."""
    translation.deactivate()


@pytest.fixture
def world(db: None, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a World: a paid appointment, and a person of each role with a test client.

    The admin shows no list of models beside each page, because rendering it takes much of a page's time.
    """
    monkeypatch.setattr(admin.site, "enable_nav_sidebar", False)
    from tests.test_authority import World  # models can't be imported before Django is set up

    return World()


@pytest.fixture
def noon() -> Iterator[None]:
    """Set the clock to noon today when the test starts, so that midnight can't pass during the test."""
    with time_machine.travel(timezone.localtime().replace(hour=12, minute=0, second=0, microsecond=0)):
        yield


@pytest.fixture
def steady_session(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no request extend its login session, because that adds queries to one request a minute."""
    monkeypatch.setattr("accounts.sessions.NOTE_EVERY", math.inf)


@pytest.fixture(scope="session")
def redis_server() -> Iterator[services.Service]:
    with services.redis() as server:
        yield server


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """Return a folder that all test processes share."""
    base = tmp_path_factory.getbasetemp()
    return base if worker_id == "master" else base.parent


@contextmanager
def is_to_be_made(path: Path) -> Iterator[bool]:
    """Yield whether `path` doesn't exist yet. The other test processes that ask wait until the block has ended."""
    with path.with_suffix(".turn").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        yield not path.exists()


@pytest.fixture(scope="session")
def sqlite_template(shared_folder: Path) -> Path:
    """Return the path of an SQLite file with all tables, for tests to copy.

    The test process that needs it first makes it; all processes share it.
    """
    template = shared_folder / "template.sqlite3"
    with is_to_be_made(template) as first:
        if first:
            site = ForkedSite(shared_folder / "template")
            site.make_database()
            site.database_file.rename(template)
    return template


@pytest.fixture(scope="session")
def postgres_server(shared_folder: Path) -> Iterator[services.Postgres]:
    """Start a PostgreSQL that has the database ALL_TABLES, or yield the one that TEST_DATABASE_URL names.

    The test process that needs it first makes this database; each process starts a server on a copy of its files.
    """
    files = shared_folder / "postgres"
    with is_to_be_made(files) as first:
        if first:
            with services.postgres() as original:
                if original.process:
                    make_all_tables(original, shared_folder)
                    services.stop_and_keep(original.process, files)
    with services.postgres(files=files) as server:
        yield server


def make_all_tables(server: services.Postgres, folder: Path, name: str = ALL_TABLES) -> None:
    url = server.database_url(server.create_database(name=name))
    ForkedSite(folder / "all-tables", DATABASE_URL=url).make_database()


@pytest.fixture(scope="session")
def postgres_template(postgres_server: services.Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the name of a PostgreSQL database with all tables, for tests to copy."""
    if postgres_server.process:
        yield ALL_TABLES
        return
    name = f"{ALL_TABLES}_{secrets.token_hex(6)}"
    make_all_tables(postgres_server, tmp_path_factory.mktemp("template"), name)
    yield name
    postgres_server.drop_database(name)


@pytest.fixture(scope="session")
def django_db_modify_db_settings(
    django_db_modify_db_settings_parallel_suffix: None, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Put the SQLite test database in a file; if it were in memory, threads would fail with "table is locked"."""
    folder = tmp_path_factory.mktemp("database")
    django_settings.DATABASES["default"]["TEST"]["NAME"] = str(folder / "test.sqlite3")


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> None:
    """Make the test database as pytest-django does, and keep its rows to restore them after tests with transactions."""
    with django_db_blocker.unblock():
        keep_rows()
    TransactionTestCase._fixture_teardown = put_rows_back  # type: ignore[attr-defined]


@pytest.fixture(scope="session")
def postgres_test_database(
    postgres_server: services.Postgres, postgres_template: str, django_db_blocker: DjangoDbBlocker
) -> Iterator[str]:
    name = postgres_server.create_database(postgres_template)
    url = postgres_server.database_url(name)
    with django_db_blocker.unblock(), default_database(url):
        keep_rows()
    yield url
    postgres_server.drop_database(name)


@pytest.fixture
def database(request: pytest.FixtureRequest) -> Iterator[str]:
    """Yield the name of the database that the ORM uses in this test: "sqlite" or "postgres".

    A test with the marker `postgres` runs once with each, with `postgres(only=True)` only with PostgreSQL.
    """
    if request.param == "sqlite":
        yield "sqlite"
        return
    request.getfixturevalue("django_db_setup")
    with default_database(request.getfixturevalue("postgres_test_database")):
        yield "postgres"


@pytest.fixture
def make_site(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., LiveSite]]:
    """Return a function that makes a site and starts it unless start=False; the site is stopped after the test.

    The function uses SQLite and no Redis unless postgres=True or redis=True. `sandbox_options` are options of the
    Stripe sandbox, for example ["--retry-base", "0.2"], `code` is the folder with the code if it isn't this one; other
    keywords are environment variables of the site.
    """
    sites: list[LiveSite] = []
    databases: list[str] = []

    def make(*, postgres: bool = False, redis: bool = False, start: bool = True, **settings: Any) -> LiveSite:
        if redis:
            settings["REDIS_URL"] = request.getfixturevalue("redis_server").url
        if postgres:
            server = request.getfixturevalue("postgres_server")
            databases.append(server.create_database(request.getfixturevalue("postgres_template")))
            settings["DATABASE_URL"] = server.database_url(databases[-1])
        site = ForkedSite(tmp_path_factory.mktemp("site"), **settings)
        if not postgres:
            shutil.copyfile(request.getfixturevalue("sqlite_template"), site.database_file)
        sites.append(site)
        request.node.stash.setdefault(SITES, []).append(site)
        if start:
            site.start()
        return site

    yield make
    for site in sites:
        site.stop()
    for name in databases:
        request.getfixturevalue("postgres_server").drop_database(name)


@pytest.fixture
def site(make_site: Callable[..., LiveSite]) -> LiveSite:
    """Return a started site that uses SQLite and the in-memory channel layer."""
    return make_site()
