"""Tests that docs/components.md works: a clone in which its blocks were followed literally, opened in a browser."""

import os
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from payments.models import Payment
from tests import chromium
from tests.browser import pages
from tests.browser.conftest import NewContext
from tests.browser.pages import PHONE, browser_of, expect_same_document, expect_status, news, open_live, toasts
from tests.clinic import Clinic
from tests.docs.clone import make_clone
from tests.docs.page import follow, take
from tests.waits import PATIENCE, wait_until

*STEPS, TESTS = take("docs/components.md")
WATCH_ROWS = """() => {
  window.lit = 0;  // noted at once, because the light goes out again
  new MutationObserver((changes) => (lit += changes.filter(({ target }) => target.matches("li.just-changed")).length))
    .observe(document, { subtree: true, attributeFilter: ["class"] });
}"""
MOVE_COUNTER = """() => {
  const counter = document.querySelector("paid-counter");
  const place = counter.parentElement;
  counter.remove();
  place.append(counter);
}"""


@pytest.fixture
def clone(tmp_path: Path) -> Iterator[Path]:
    """Return a clone in which all blocks were followed. The last runs the page's own tests, while the test goes on."""
    clone = make_clone(tmp_path / "clone")
    follow(STEPS, clone, os.environ)
    environment = {**os.environ, "CHROMIUM": chromium.executable() or ""}
    output = tmp_path / "tests.log"
    with output.open("w") as log:
        tests = subprocess.Popen(["sh", "-e", "-c", TESTS.text], cwd=clone, env=environment, stdout=log, stderr=log)
    yield clone
    assert tests.wait(4 * PATIENCE) == 0, output.read_text()
    assert "4 passed" in output.read_text()


@pytest.fixture
def own_clinic(make_clinic: Callable[..., Clinic], clone: Path) -> Clinic:
    """Return a clinic whose site runs the clone's code instead of this folder's."""
    return make_clinic(code=clone)


def counted(clinic: Clinic, sample: str) -> float:
    """Return what /metrics says of a sample, such as `name_total{label="value"}`."""
    metrics = clinic.get("/metrics", clinic.staff[0]).read().decode()
    [count] = re.findall(rf"^{re.escape(sample)} (\S+)", metrics, re.M)
    return float(count)


@pytest.mark.nightly
def test_a_page_author_follows_the_page(own_clinic: Clinic, new_context: NewContext) -> None:
    clinic, patient = own_clinic, own_clinic.patients[0]
    desk = browser_of(clinic.staff[0], clinic, new_context)
    theirs, wall = open_live(desk, "/today/"), open_live(desk, "/today/wall/")
    mine = open_live(browser_of(patient, clinic, new_context, **PHONE), "/today/")
    expect(mine.locator(".payment-status")).to_have_count(3)
    expect(theirs.locator(".payment-status")).to_have_count(6)
    theirs.evaluate(WATCH_ROWS)

    pay(browser_of(patient, clinic, new_context))
    see_it_paid(clinic, patient.payments[0], mine, theirs, wall)

    wall.evaluate(MOVE_COUNTER)
    assert clinic.tell(clinic.story(payment=1).completed()) == 200
    expect(wall.locator("paid-counter output")).to_have_text("2")
    expect(wall.locator("#takings")).to_contain_text("100,01")

    ask_by_the_button(theirs)
    lose_the_connection(desk, theirs, wall)
    for page in (mine, theirs, wall):
        expect_same_document(page)


def pay(context: BrowserContext) -> None:
    """Pay for the first appointment, from the author's page to Stripe's."""
    page = context.new_page()
    page.goto("/today/")
    pages.start_paying(page)
    pages.pay_by_card(page, pages.PAID)


def see_it_paid(clinic: Clinic, payment: Payment, mine: Page, theirs: Page, wall: Page) -> None:
    for page in (mine, theirs):
        expect_status(page, payment, "paid")
    expect(toasts(mine)).to_have_count(1)
    expect(mine.locator("button[form^=pay-]")).to_have_count(2)  # of three, because one is paid
    expect(theirs.locator(f"[id='payment-{payment.public_id}-owed']")).not_to_contain_text("50,00")
    expect(news(theirs)).to_contain_text("a payé 50,00")
    expect(news(wall)).to_have_count(0)  # patients see the wall, and news has names
    wait_until(lambda: theirs.evaluate("lit"), "the row lights up")
    expect(wall.locator("paid-counter output")).to_have_text("1")
    expect(wall.locator("#takings")).to_contain_text("50,00")
    for output in ("last-change", "last-paid"):
        expect(wall.locator(f"#{output}")).to_have_text(re.compile(r"\d:\d\d:\d\d"))
    assert counted(clinic, 'today_paid_total{currency="eur"}') == 1
    assert counted(clinic, 'today_moved_total{status="paid"}') == 1


def ask_by_the_button(page: Page) -> None:
    with page.expect_response(re.compile(pages.POLL)) as asked:
        page.locator("main [data-live-refresh]").click()
    assert asked.value.status == 204


def lose_the_connection(context: BrowserContext, theirs: Page, wall: Page) -> None:
    state = theirs.locator("main connection-state")
    expect(state.locator("[data-when=connected]")).to_be_visible()
    context.set_offline(True)
    expect(state.locator("[data-when=offline]")).to_be_visible()
    expect(wall.locator("#stale")).to_be_visible()
    context.set_offline(False)
    expect(state.locator("[data-when=connected]")).to_be_visible()
    expect(wall.locator("#stale")).to_be_hidden()
