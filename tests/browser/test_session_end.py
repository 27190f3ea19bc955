"""Tests that a page asks before the session of somebody who does nothing ends, and hides itself when it has ended."""

import datetime
import sqlite3
import time

import pytest
from django.contrib.sessions.backends.db import SessionStore
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.conftest import NewContext
from tests.browser.pages import browser_of
from tests.browser.test_accessibility import check
from tests.clinic import Clinic, Person

pytestmark = pytest.mark.faults
QUESTION = "Vous êtes toujours là ?"


def session_of(clinic: Clinic, person: Person, *, older: int = 0, signed_in: int = 0) -> float:
    """Return in how many seconds the session ends, after making the last activity and the sign-in seconds older."""
    with sqlite3.connect(clinic.site.database_file, timeout=10) as database:
        row = database.execute("SELECT session_data FROM django_session WHERE session_key = ?", (person.session,))
        store = SessionStore(person.session)
        session = store.decode(row.fetchone()[0])
        session["active_at"] -= older
        session["signed_in_at"] -= signed_in
        ends = datetime.datetime.fromisoformat(session["_session_expiry"]) - datetime.timedelta(seconds=older)
        session["_session_expiry"] = ends.isoformat()
        database.execute(
            "UPDATE django_session SET session_data = ?, expire_date = ? WHERE session_key = ?",
            (store.encode(session), ends.strftime("%Y-%m-%d %H:%M:%S"), person.session),
        )
    return ends.timestamp() - time.time()


def leave_alone(page: Page, clinic: Clinic, person: Person, **changes: int) -> None:
    """Let 29 minutes pass, for the page and for the session."""
    session_of(clinic, person, older=29 * 60, **changes)
    page.clock.fast_forward("29:00")


@pytest.fixture
def page(clinic: Clinic, patient: Person, new_context: NewContext) -> Page:
    context: BrowserContext = browser_of(clinic.staff[0], clinic, new_context)
    page = context.new_page()
    page.clock.install()
    page.goto(f"/desk/{patient.references[0]}/")
    return page


def test_somebody_who_does_nothing_is_asked_and_stays_signed_in(clinic: Clinic, page: Page) -> None:
    clerk, question = clinic.staff[0], page.get_by_role("dialog", name=QUESTION)
    leave_alone(page, clinic, clerk)
    expect(question).to_be_visible()
    expect(question).to_contain_text("dans 0:5")
    check(page)
    assert session_of(clinic, clerk) < 60
    question.get_by_role("button", name="Rester connecté(e)").click()
    expect(question).to_be_hidden()
    assert session_of(clinic, clerk) > 29 * 60


def test_somebody_who_types_is_not_asked(clinic: Clinic, page: Page) -> None:
    clerk = clinic.staff[0]
    session_of(clinic, clerk, older=29 * 60)
    page.clock.fast_forward("27:50")
    page.get_by_label("Note pour les collègues").press_sequentially("Rappeler")
    with page.expect_response("**/session/") as asked:
        page.clock.fast_forward("00:30")
    assert asked.value.json()["seconds"] > 29 * 60
    expect(page.get_by_role("dialog", name=QUESTION)).to_be_hidden()


def test_the_longest_session_ends_with_a_warning(clinic: Clinic, page: Page) -> None:
    question = page.get_by_role("dialog", name=QUESTION)
    leave_alone(page, clinic, clinic.staff[0], signed_in=10 * 60 * 60 - 60)
    expect(question).to_contain_text("Enregistrez ce que vous avez saisi")
    question.get_by_role("button", name="Fermer").click()
    expect(question).to_be_hidden()
