"""A real Chromium: one for each test process, a new context for each test.

A failed test leaves a screenshot of each page and a trace (`playwright show-trace`) in .test-failures/.
"""

import re
import shutil
from collections.abc import Callable, Iterator
from copy import copy
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, sync_playwright

from payments.models import Payment
from payments_site.demo.site import ROOT
from tests import chromium
from tests.clinic import Clinic, Person
from tests.conftest import FAILED
from tests.live_site import LiveSite

NewContext = Callable[..., BrowserContext]
PASSWORD = "sesame, said aloud"


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium.executable(), args=chromium.FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def page_errors() -> list[str]:
    """Uncaught exceptions and CSP violations of all pages; any left here at the end fails the test."""
    return []


@pytest.fixture
def new_context(request: pytest.FixtureRequest, browser: Browser, page_errors: list[str]) -> Iterator[NewContext]:
    """new_context(**Playwright's options): another person's browser, with its own cookies."""
    contexts: list[BrowserContext] = []

    def make(**options: Any) -> BrowserContext:
        context = browser.new_context(**{"locale": "fr-FR", "timezone_id": "Europe/Paris", **options})
        context.set_default_timeout(10_000)
        context.on("weberror", lambda error: page_errors.append(str(error.error)))
        context.on("console", on_console)
        context.tracing.start(screenshots=True, snapshots=True)
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
    context.tracing.stop(path=folder / "trace.zip")


@pytest.fixture
def page(site: LiveSite, new_context: NewContext) -> Page:
    """One person's page on a fresh site; `page.goto("/...")`."""
    return new_context(base_url=site.url).new_page()


@pytest.fixture(scope="session")
def clinic_template(tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path) -> Clinic:
    """A clinic whose people have a password, made once for each test process, on a site that never starts."""
    site = LiveSite(tmp_path_factory.mktemp("clinic"))
    shutil.copyfile(sqlite_template, site.database_file)
    return Clinic(site, staff=1, patients=2, each=3, password=PASSWORD)


@pytest.fixture
def make_clinic(make_site: Callable[..., LiveSite], clinic_template: Clinic) -> Callable[..., Clinic]:
    """make_clinic(**make_site's options): the clinic on another fresh site, started."""

    def make(**options: Any) -> Clinic:
        clinic = copy(clinic_template)
        kept = clinic_template.site.settings["SECRET_KEY"]  # sessions are signed with it
        clinic.site = make_site(start=False, SECRET_KEY=kept, **options)
        shutil.copyfile(clinic_template.site.database_file, clinic.site.database_file)
        clinic.site.start()
        return clinic

    return make


@pytest.fixture
def clinic(make_clinic: Callable[..., Clinic]) -> Clinic:
    """A clerk and two patients of three appointments each, today at noon."""
    return make_clinic()


@pytest.fixture
def patient(clinic: Clinic) -> Person:
    return clinic.patients[0]


@pytest.fixture
def payment(patient: Person) -> Payment:
    return patient.payments[0]
