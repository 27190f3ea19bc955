"""Fixtures of the browser tests: each test process runs one Chromium, each test opens its own browser contexts.

A failed test leaves a screenshot and the HTML of each page in .test-failures/. With the environment variable TRACE, it
also leaves a trace of all steps for `playwright show-trace`.
"""

import datetime
import functools
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.db.models import F
from django.utils import timezone
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, expect
from pytest_django import DjangoDbBlocker

from appointments.models import Appointment
from payments.models import Payment
from payments_site.demo.site import ROOT
from tests import chromium, people
from tests.clinic import Clinic, Person
from tests.conftest import FAILED, SITES
from tests.databases import default_database
from tests.live_site import ForkedSite, LiveSite
from tests.people import Made

NewContext = Callable[..., BrowserContext]
PATIENCE_MS = 60_000  # only a failing test waits this long
expect.set_options(timeout=PATIENCE_MS)
PASSWORD = "sesame, said aloud"


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with chromium.running() as browser:
        yield browser


@pytest.fixture
def page_errors() -> list[str]:
    """Return the list in which `new_context` collects all pages' uncaught exceptions and CSP violations.

    The test fails if the list isn't empty at its end.
    """
    return []


@pytest.fixture
def new_context(request: pytest.FixtureRequest, browser: Browser, page_errors: list[str]) -> Iterator[NewContext]:
    """Return a function that opens a browser context with its own cookies; it takes Playwright's context options."""
    contexts: list[BrowserContext] = []

    def make(**options: Any) -> BrowserContext:
        context = browser.new_context(**{"locale": "fr-FR", "timezone_id": "Europe/Paris", **options})
        context.set_default_timeout(PATIENCE_MS)
        context.on("weberror", lambda error: page_errors.append(str(error.error)))
        context.on("console", on_console)
        if "TRACE" in os.environ:  # not always, because the tests then compute a third more
            context.tracing.start(snapshots=True)
        contexts.append(context)
        return context

    def on_console(message: ConsoleMessage) -> None:
        if "Content Security Policy" in message.text:
            page_errors.append(message.text)

    yield make
    keep = request.node.stash.get(FAILED, False) or page_errors
    folder = ROOT / ".test-failures" / re.sub(r"[^\w.-]+", "-", request.node.nodeid)
    for number, context in enumerate(contexts):
        if keep:
            keep_evidence(context, folder / f"{number}")
        context.close()
    assert not page_errors, page_errors


def keep_evidence(context: BrowserContext, folder: Path) -> None:
    for number, page in enumerate(context.pages):
        page.screenshot(path=folder / f"{number}.png", full_page=True)
        (folder / f"{number}.html").write_text(page.content())
    if "TRACE" in os.environ:
        context.tracing.stop(path=folder / "trace.zip")


@pytest.fixture(scope="session")
def clinic_of(tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path) -> Callable[[datetime.date], Clinic]:
    """Return a function that makes a clinic with appointments on a date, as a template that other fixtures copy.

    The function makes one clinic for each date and test process. It never starts the clinic's site.
    """

    @functools.cache
    def make(day: datetime.date) -> Clinic:
        site = ForkedSite(tmp_path_factory.mktemp("clinic"))
        shutil.copyfile(sqlite_template, site.database_file)
        return Clinic(site, staff=1, patients=2, each=3, password=PASSWORD)

    return make


@pytest.fixture
def make_clinic(
    make_site: Callable[..., LiveSite], clinic_of: Callable[[datetime.date], Clinic]
) -> Callable[..., Clinic]:
    """Return a function that starts a new site with a copy of the clinic from `clinic_of`, and returns the clinic.

    The function takes make_site's options.
    """

    def make(**options: Any) -> Clinic:
        template = clinic_of(timezone.localdate())
        clinic = copy(template)
        kept = template.site.settings["SECRET_KEY"]  # the copied sessions are signed with it
        clinic.site = make_site(start=False, SECRET_KEY=kept, **options)
        shutil.copyfile(template.site.database_file, clinic.site.database_file)
        clinic.site.start()
        return clinic

    return make


@pytest.fixture
def new_clinic(make_clinic: Callable[..., Clinic]) -> Clinic:
    """Return a clinic on a site of its own: a clerk, and two patients with three appointments each today from noon."""
    return make_clinic()


@pytest.fixture(scope="session")
def shared_site(tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path) -> Iterator[LiveSite]:
    """Return the site that the tests of this process share.

    A test that stops the site, or counts things that other tests also cause there, uses `new_clinic` instead.
    """
    site = ForkedSite(tmp_path_factory.mktemp("shared"), SECRET_KEY=settings.SECRET_KEY)  # sessions are signed with it
    shutil.copyfile(sqlite_template, site.database_file)
    site.start()
    yield site
    site.stop()


@pytest.fixture
def clinic(request: pytest.FixtureRequest, shared_site: LiveSite, django_db_blocker: DjangoDbBlocker) -> Clinic:
    """Return a clinic with new people on the shared site, whose Stripe sandbox is emptied first.

    Appointments of earlier tests move to last week, so that all new ones stand on the first page of the day.
    """
    request.node.stash.setdefault(SITES, []).append(shared_site)
    shared_site.at_stripe("reset")

    def make() -> list[Made]:
        with django_db_blocker.unblock(), default_database(shared_site.settings["DATABASE_URL"]):
            week = datetime.timedelta(weeks=1)
            today = Appointment.objects.filter(start__gte=timezone.now() - datetime.timedelta(days=2))
            today.update(start=F("start") - week, end=F("end") - week)
            return people.make(1, 2, 3, PASSWORD, also=secrets.token_hex(3))

    with ThreadPoolExecutor(1) as beside:  # the ORM refuses to work in Playwright's thread
        return Clinic(shared_site, beside.submit(make).result())


@pytest.fixture
def patient(clinic: Clinic) -> Person:
    return clinic.patients[0]


@pytest.fixture
def payment(patient: Person) -> Payment:
    return patient.payments[0]
