"""Takes the screenshots in this folder, from a demo that was started with `./run demo --reset`.

Run `.venv/bin/python docs/images/take.py URL` with the demo's URL. The sample patient Camille pays an appointment
meanwhile, so each run needs fresh sample data.
"""

import datetime
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import django
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
django.setup()

from tests import chromium  # noqa: E402
from tests.browser import pages  # noqa: E402

PASSWORD = "demo"  # noqa: S105 - printed by the demo
DESKTOP, PHONE = {"viewport": {"width": 1280, "height": 800}}, pages.PHONE


def enter(
    browser: Browser, site: str, name: str, look: Mapping[str, Any], scheme: Literal["light", "dark"] = "light"
) -> BrowserContext:
    context = browser.new_context(
        base_url=site,
        device_scale_factor=2,
        locale="fr-FR",
        timezone_id="Europe/Paris",
        color_scheme=scheme,
        reduced_motion="reduce",
        **look,
    )
    pages.sign_in(context.new_page(), name, PASSWORD)
    return context


def shoot(page: Page, name: str) -> None:
    width = page.viewport_size["width"] if page.viewport_size else 0
    page.screenshot(path=Path(__file__).with_name(f"{name}-{width}.png"))


def open_and_shoot(context: BrowserContext, path: str, name: str) -> Page:
    page = context.pages[0]
    pages.go_live(page, path)
    shoot(page, name)
    return page


def todays_unpaid(page: Page) -> str:
    """Return the path of the first of today's appointments that Camille can still pay; "" if its link has no path."""
    today = page.locator("li", has=page.locator(f"time[datetime^='{datetime.datetime.now().astimezone():%Y-%m-%d}']"))
    unpaid = today.filter(has=page.get_by_role("button", name=re.compile("Payer")))
    return unpaid.get_by_role("link").first.get_attribute("href") or ""


def take(browser: Browser, site: str) -> None:
    """Take the counter's and the patient's pages, before and while a patient pays, and the accountant's pages."""
    computer, phone = (enter(browser, site, "camille", look) for look in (DESKTOP, PHONE))
    desk, desk_phone = (enter(browser, site, "accueil", look) for look in (DESKTOP, PHONE))
    open_and_shoot(phone, "/appointments/", "patient")
    day = open_and_shoot(desk, "/desk/", "desk")
    open_and_shoot(desk_phone, "/desk/", "desk")
    open_and_shoot(enter(browser, site, "accueil", DESKTOP, "dark"), "/desk/?view=agenda", "agenda-dark")
    pages.go_live(computer.pages[0], "/appointments/")
    path = todays_unpaid(computer.pages[0])
    reference = path.strip("/").rpartition("/")[2]
    mine = open_and_shoot(phone, path, "appointment")
    payer = enter(browser, site, "camille", PHONE).pages[0]
    payer.goto(path)
    pages.start_paying(payer)
    shoot(payer, "checkout")
    pages.go_live(day, f"/desk/?appointment={reference}")
    shoot(day, "desk-to-pay")
    pages.pay_by_card(payer, pages.PAID)
    expect(pages.toasts(mine)).to_be_visible()
    shoot(mine, "toast-patient")
    expect(day.locator(".owed.is-paid")).to_be_visible()
    expect(pages.news(day)).to_contain_text("Camille Roux")
    expect(day.locator(".till")).to_contain_text("603,00")
    shoot(day, "toast-desk")
    take_dialogs(day)
    take_money(enter(browser, site, "compta", DESKTOP))


def take_dialogs(day: Page) -> None:
    day.get_by_role("link", name="Rendez-vous", exact=True).click()
    form = day.get_by_role("dialog")
    form.get_by_label("Praticien").select_option(index=1)
    form.get_by_label("Prestation").select_option(index=1)
    form.get_by_label("Nom, téléphone ou e-mail").press_sequentially("ca")
    expect(form.get_by_role("button", name=re.compile("Camille Roux")).first).to_be_visible()
    shoot(day, "booking")


def take_money(books: BrowserContext) -> None:
    """Take the accountant's pages: the till with two euros too little, the journal and a transfer."""
    till = open_and_shoot(books, "/review/", "review")
    pages.go_live(till, "/desk/closing/")
    count = till.get_by_label("Compté").first
    count.fill("170")
    count.scroll_into_view_if_needed()
    shoot(till, "closing")
    open_and_shoot(books, "/desk/journal/", "journal")
    pages.go_live(till, "/desk/transfers/")
    till.locator("main table a").first.click()
    expect(till.get_by_role("heading", level=1)).to_be_visible()
    shoot(till, "transfer")
    open_and_shoot(books, "/desk/operations/", "operations")


def main() -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium.executable(), args=chromium.FLAGS)
        take(browser, sys.argv[1].rstrip("/"))
        browser.close()


if __name__ == "__main__":
    main()
