"""Tests of what every form does when it is sent, and of what the front desk's keys and navigation offer."""

import pytest
from playwright.sync_api import BrowserContext, Request, expect

from tests.browser import pages
from tests.browser.conftest import NewContext
from tests.browser.pages import browser_of, open_live
from tests.clinic import Clinic, Person


@pytest.fixture
def desk(clinic: Clinic, new_context: NewContext) -> BrowserContext:
    return browser_of(clinic.staff[0], clinic, new_context)


def test_a_button_shows_that_it_is_busy_and_a_second_click_sends_nothing(
    clinic: Clinic, patient: Person, new_context: NewContext
) -> None:
    page = open_live(browser_of(patient, clinic, new_context), "/appointments/")
    sent: list[Request] = []
    page.on("request", lambda request: sent.append(request) if request.method == "POST" else None)
    page.route("**/pay/", lambda route: route.fulfill(status=204))  # which leaves the page where it is
    button = page.get_by_role("button", name="Payer en ligne").first
    button.click()
    expect(button).to_have_attribute("aria-busy", "true")
    button.evaluate("button => button.click()")
    page.wait_for_timeout(500)
    assert len(sent) == 1


def test_the_first_error_of_a_form_that_came_back_has_the_focus(desk: BrowserContext, patient: Person) -> None:
    page = open_live(desk, f"/desk/{patient.references[0]}/take/")
    page.locator("[name=amount]").fill("lots")
    page.get_by_role("button", name="Enregistrer l’encaissement").click()
    expect(page.locator("[name=amount]")).to_be_focused()
    expect(page.locator("[name=amount]")).to_have_attribute("aria-invalid", "true")


def test_single_keys_can_be_switched_off_for_good(desk: BrowserContext) -> None:
    page = open_live(desk, "/desk/")
    page.keyboard.press("?")
    page.get_by_role("switch", name="Utiliser des touches seules").uncheck()
    page.get_by_role("dialog").get_by_role("button", name="Fermer").click()
    page.keyboard.press("/")
    expect(page.locator("#filter-q")).not_to_be_focused()
    page.reload()
    pages.expect_live(page)
    page.keyboard.press("?")
    expect(page.locator("#keys")).to_be_hidden()


def test_administration_is_offered_to_whom_it_shows_something(
    clinic: Clinic, desk: BrowserContext, new_context: NewContext
) -> None:
    page = open_live(desk, "/desk/")
    expect(page.get_by_role("link", name="Administration")).to_have_count(0)
    pages.join(clinic, clinic.staff[0], "manager")
    page.reload()
    expect(page.get_by_role("link", name="Administration")).to_be_visible()
    bar = page.locator(".site-header").bounding_box()
    assert bar
    assert bar["height"] < 64, "all that a manager may open stands on one line"
