"""The pages that people see, live: without a reload, without a socket, and across what goes wrong."""

import re
import time
from collections.abc import Callable

import pytest
from playwright.sync_api import BrowserContext, Locator, Page, expect

from payments_site.demo.site import ROOT
from tests.browser.conftest import NewContext
from tests.clinic import Clinic, Person
from tests.live_site import LiveSite

SOON = 10_000  # ms


@pytest.fixture
def clinic(site: LiveSite) -> Clinic:
    return Clinic(site, staff=1, patients=2, each=3)


@pytest.fixture
def sign_in(site: LiveSite, new_context: NewContext) -> Callable[[Person], BrowserContext]:
    def sign_in(person: Person) -> BrowserContext:
        context = new_context(base_url=site.url)
        context.add_cookies([{"name": "sessionid", "value": person.session, "url": site.url}])
        return context

    return sign_in


def opened(context: BrowserContext, path: str) -> Page:
    """A page that has connected; window.loads tells whether it was loaded again."""
    page = context.new_page()
    page.goto(path)
    expect(page.locator("html")).to_have_attribute("data-live", "connected")
    page.evaluate("window.sameDocument = true")
    return page


def assert_not_reloaded(page: Page) -> None:
    assert page.evaluate("window.sameDocument") is True


def status_of(page: Page, person: Person, number: int = 0) -> Locator:
    return page.locator(f"[id='payment-{person.payments[number].public_id}']")


def test_both_screens_turn_paid_with_one_toast_each(
    clinic: Clinic, sign_in: Callable[[Person], BrowserContext]
) -> None:
    patient, clerk = clinic.patients[0], clinic.staff[0]
    mine = opened(sign_in(patient), f"/appointments/{patient.references[0]}/")
    desk = opened(sign_in(clerk), "/desk/")
    story = clinic.story()
    for event in (story.completed(), story.succeeded()):
        assert clinic.tell(event) == 200
    for page in (mine, desk):
        expect(status_of(page, patient)).to_have_attribute("data-status", "paid", timeout=SOON)
        expect(page.locator("payment-toast[shown]")).to_have_count(1)
        assert_not_reloaded(page)
    expect(mine.locator(".timeline li")).to_have_count(1)
    mine.locator("payment-toast button").press("Enter")
    expect(mine.locator("payment-toast")).to_have_count(0)
    assert clinic.site.server.log().count("GET /payments/live/") == 0


def test_two_tabs_of_one_person_show_one_toast(clinic: Clinic, sign_in: Callable[[Person], BrowserContext]) -> None:
    context, patient = sign_in(clinic.patients[0]), clinic.patients[0]
    tabs = [opened(context, "/appointments/") for _ in range(2)]
    assert clinic.tell(clinic.story().completed()) == 200
    for tab in tabs:
        expect(status_of(tab, patient)).to_have_attribute("data-status", "paid")
    time.sleep(1)
    assert sum(tab.locator("payment-toast[shown]").count() for tab in tabs) == 1


def test_a_killed_server_is_caught_up_with(clinic: Clinic, sign_in: Callable[[Person], BrowserContext]) -> None:
    patient = clinic.patients[0]
    page = opened(sign_in(patient), f"/appointments/{patient.references[0]}/")
    clinic.site.kill()
    expect(page.locator("html")).to_have_attribute("data-live", "reconnecting")
    clinic.site.server.start()
    assert clinic.tell(clinic.story().completed()) == 200
    expect(status_of(page, patient)).to_have_attribute("data-status", "paid", timeout=SOON)
    expect(page.locator("html")).to_have_attribute("data-live", "connected", timeout=SOON)
    expect(page.locator("payment-toast[shown]")).to_have_count(1)
    assert_not_reloaded(page)
    assert re.search(r"live_reconnect attempt=\d why=closed code=1006", clinic.site.server.log())


def test_if_the_module_never_loads_htmx_polls_alone_and_repeats_nothing(
    clinic: Clinic, sign_in: Callable[[Person], BrowserContext]
) -> None:
    context, patient = sign_in(clinic.patients[0]), clinic.patients[0]
    context.route(re.compile("/static/js/"), lambda route: route.abort())
    page = context.new_page()
    page.clock.install()
    page.goto(f"/appointments/{patient.references[0]}/")
    assert clinic.tell(clinic.story().completed()) == 200
    for _ in range(3):
        with page.expect_response(re.compile("/payments/live/")):
            page.clock.run_for(30_500)
    expect(status_of(page, patient)).to_have_attribute("data-status", "paid")
    expect(page.locator(".timeline li")).to_have_count(1)
    expect(page.locator("#live-cursor")).to_have_value("1")


def test_signing_out_elsewhere_is_said(clinic: Clinic, sign_in: Callable[[Person], BrowserContext]) -> None:
    context = sign_in(clinic.patients[0])
    page, other = opened(context, "/appointments/"), opened(context, "/appointments/")
    other.locator("form[action*=logout] button, form[action*=sign-out] button").click()
    expect(page.locator("html")).to_have_attribute("data-live", "signed-out", timeout=6_000)
    expect(page.locator("[data-when=signed-out]")).to_be_visible()


def test_a_row_lights_up_where_it_is_and_a_missing_one_waits_to_be_asked_for(
    clinic: Clinic, sign_in: Callable[[Person], BrowserContext]
) -> None:
    patient, page = clinic.patients[0], opened(sign_in(clinic.staff[0]), "/desk/")
    search = page.locator("input[type=search]")
    search.fill("half a na")
    search.focus()
    assert clinic.tell(clinic.story().completed()) == 200
    expect(page.locator("tr.just-changed")).to_have_count(1)
    expect(search).to_be_focused()
    expect(search).to_have_value("half a na")
    page.goto("/desk/?status=paid")
    expect(page.locator("html")).to_have_attribute("data-live", "connected")
    expect(page.locator("tbody tr")).to_have_count(1)
    for number in (1, 2):
        assert clinic.tell(clinic.story(payment=number).completed()) == 200
    button = page.locator("[data-new]")
    expect(button).to_have_text(re.compile("2"))
    expect(page.locator("tbody tr")).to_have_count(1)
    button.click()
    expect(page.locator("tbody tr")).to_have_count(3)
    expect(status_of(page, patient, 2)).to_have_attribute("data-status", "paid")
    assert clinic.tell(clinic.story(patient=1).completed()) == 200
    expect(page.locator("[data-new]")).to_have_text(re.compile("1"))


def test_the_refresh_button_asks_at_once(clinic: Clinic, sign_in: Callable[[Person], BrowserContext]) -> None:
    page = opened(sign_in(clinic.patients[0]), "/appointments/")
    with page.expect_response(re.compile("/payments/live/")) as asked:
        page.locator("[data-live-refresh]").click()
    assert asked.value.status == 204
    assert_not_reloaded(page)
    expect(page.locator("[data-age]")).to_be_visible()


def test_the_front_desk_learns_that_the_patient_saw_it(
    clinic: Clinic, sign_in: Callable[[Person], BrowserContext]
) -> None:
    patient = clinic.patients[0]
    mine = opened(sign_in(patient), f"/appointments/{patient.references[0]}/")
    assert clinic.tell(clinic.story().completed()) == 200
    expect(status_of(mine, patient)).to_have_attribute("data-status", "paid")
    time.sleep(2)  # a look shorter than a second doesn't count
    desk = opened(sign_in(clinic.staff[0]), f"/desk/{patient.references[0]}/")
    expect(desk.locator(".trace strong time")).to_have_text(re.compile(r"\d\d:\d\d:\d\d"))


def test_a_component_of_a_page_authors_own_counts_what_is_paid(
    clinic: Clinic, sign_in: Callable[[Person], BrowserContext]
) -> None:
    page = opened(sign_in(clinic.staff[0]), "/components/")
    for number in (0, 1):
        story = clinic.story(payment=number)
        for event in (story.completed(), story.succeeded()):
            assert clinic.tell(event) == 200
    expect(page.locator("paid-counter output")).to_have_text("2")
    guide = (ROOT / "docs/components.md").read_text()
    for file in ("static/js/paid-counter.js", "templates/payments/_paid_counter.html"):
        assert (ROOT / file).read_text() in guide
