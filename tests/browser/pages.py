"""Helpers that use the site's pages (in French) and Stripe's page as people do, and check what the pages show."""

import re
import sqlite3
from typing import Any

from playwright.sync_api import BrowserContext, Locator, Page, expect

from payments.models import Payment
from tests.browser.conftest import NewContext
from tests.clinic import Clinic, Person
from tests.live_site import LiveSite
from tests.waits import wait_until

PAID, DECLINED = "4242 4242 4242 4242", "4000 0000 0000 0002"
PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
POLL = "/payments/live/"
JOIN = "INSERT INTO clinic_accounts_user_groups (user_id, group_id) SELECT ?, id FROM auth_group WHERE name = ?"


def browser_of(person: Person, clinic: Clinic, new_context: NewContext, **options: Any) -> BrowserContext:
    """Return a new browser context in which `person` is signed in; `options` are Playwright's."""
    context = new_context(base_url=clinic.site.url, **options)
    context.add_cookies([{"name": "sessionid", "value": person.session, "url": clinic.site.url}])
    return context


def join(clinic: Clinic, person: Person, group: str) -> None:
    """Add the member of staff `person` to the Django group named `group`."""
    with sqlite3.connect(clinic.site.database_file, timeout=10) as database:
        assert database.execute(JOIN, (person.id, group)).rowcount == 1


def sign_in(page: Page, name: str, password: str) -> None:
    page.goto("/login/")
    page.get_by_label("Nom d’utilisateur").fill(name)
    page.get_by_label("Mot de passe").fill(password)
    page.get_by_role("button", name="Se connecter", exact=True).click()


def open_live(context: BrowserContext, path: str) -> Page:
    """Open the page at `path` and wait until its socket is connected.

    Mark the document, so that `expect_same_document` notices a reload.
    """
    page = context.new_page()
    go_live(page, path)
    mark(page)
    return page


def go_live(page: Page, path: str) -> None:
    page.goto(path)
    expect_live(page)


def mark(page: Page) -> None:
    page.evaluate("window.sameDocument = true")


def expect_same_document(page: Page) -> None:
    assert page.evaluate("window.sameDocument") is True, "the page was loaded again"


def expect_live(page: Page, state: str = "connected") -> None:
    expect(page.locator("html")).to_have_attribute("data-live", state)


def status_of(page: Page, payment: Payment) -> Locator:
    return page.locator(f"[id='payment-{payment.public_id}']")


def expect_status(page: Page, payment: Payment, status: str) -> None:
    expect(status_of(page, payment)).to_have_attribute("data-status", status)


def tab_to(page: Page, wanted: Locator, most: int = 60) -> None:
    """Press Tab until `wanted` has the focus; raise AssertionError after `most` times."""
    for _ in range(most):
        if wanted.evaluate("node => node === document.activeElement"):
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"{wanted} is not reached by Tab")


def press(page: Page, wanted: Locator) -> None:
    """Tab to the link or button `wanted` and press Enter."""
    tab_to(page, wanted)
    page.keyboard.press("Enter")


def toasts(page: Page) -> Locator:
    return page.locator("payment-toast[shown]")


def news(page: Page) -> Locator:
    """Return the line with the newest news on a page of staff."""
    return page.locator("#news [data-news]")


def prove_current(page: Page) -> None:
    """Check that the page is up to date: press "Actualiser" (refresh) and expect a 204, which means no changes."""
    with page.expect_response(re.compile(POLL)) as asked:
        page.get_by_role("link", name="Actualiser").click()
    assert asked.value.status == 204


def fill_in_booking(form: Locator, first_name: str, last_name: str) -> None:
    """Fill in all but the time of the form for a new appointment: a new patient, and the service "Bilan" for 90.00."""
    form.get_by_role("button", name="Nouveau patient").click()
    form.get_by_label("Prénom").fill(first_name)
    form.get_by_label("Nom", exact=True).fill(last_name)
    form.get_by_label("Praticien").select_option("Dr Anne Mercier")
    form.get_by_label("Prestation").select_option("Bilan")
    expect(form.get_by_label(re.compile("^Prix"))).to_have_value("90,00")


def start_paying(page: Page) -> str:
    """Press the pay button, wait for Stripe's page and return the Checkout Session's id from its URL."""
    page.get_by_role("button", name=re.compile("Payer en ligne|Continuer|Réessayer")).first.click()
    expect(page).to_have_url(re.compile(r"/c/pay/cs_test_\w+"))
    return page.url.rsplit("/", 1)[1]


def pay_by_card(page: Page, number: str) -> None:
    """Fill in Stripe's page with the card `number` and valid other fields, and press its pay button."""
    if (email := page.get_by_label("E-mail")).is_editable():
        email.fill("camille@example.com")
    page.get_by_label("Numéro de carte").fill(number)
    page.get_by_label("Expiration").fill("12 / 34")
    page.get_by_label("Code de sécurité").fill("123")
    page.get_by_label("Nom et prénom").fill("Camille Roux")
    page.get_by_role("button", name="Payer").click()


def wait_until_told(site: LiveSite) -> None:
    """Wait until the site has accepted every webhook that the sandbox sends."""
    wait_until(lambda: all(each["state"] == "delivered" for each in site.deliveries()), "the site takes every webhook")
