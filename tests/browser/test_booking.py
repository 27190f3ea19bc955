"""Tests of booking at the front desk in a browser, with and without JavaScript."""

import datetime
import re

from django.utils import timezone
from playwright.sync_api import expect

from tests.browser import pages
from tests.browser.conftest import NewContext
from tests.browser.pages import browser_of, open_live
from tests.clinic import Clinic


def next_week() -> str:
    return (timezone.localdate() + datetime.timedelta(days=7)).isoformat()


def test_a_new_patient_is_booked_moved_and_corrected(clinic: Clinic, new_context: NewContext) -> None:
    desk = browser_of(clinic.staff[0], clinic, new_context)
    other_screen = open_live(desk, f"/desk/?day={next_week()}")
    page = open_live(desk, f"/desk/?day={next_week()}")
    form = page.get_by_role("dialog")
    page.get_by_role("link", name="Rendez-vous", exact=True).click()
    form.get_by_label("Nom, téléphone ou e-mail").press_sequentially("canary")
    expect(form.get_by_role("button", name=re.compile("Canary")).first).to_be_visible()
    form.get_by_role("button", name="Nouveau patient").press("Enter")
    expect(form.get_by_label("Prénom")).to_be_focused()
    expect(form.get_by_label("Nom", exact=True)).to_have_value("canary")
    form.get_by_role("button", name="Chercher à nouveau").press("Enter")
    expect(form.get_by_label("Nom, téléphone ou e-mail")).to_be_focused()
    pages.fill_in_booking(form, "Léa", "Colin")
    expect(form.get_by_label("Durée en minutes")).to_have_value("45")
    form.get_by_role("button", name="09:30").click()
    book = form.get_by_role("button", name=re.compile("^Réserver .* 09:30$"))
    expect(book).to_be_visible()
    expect(form.get_by_label("Nom", exact=True)).to_have_value("Colin")
    book.click()
    expect(page.get_by_role("heading", name="Léa Colin")).to_be_visible()
    expect(page).to_have_url(re.compile("appointment=[A-Z0-9]{8}$"))
    pages.expect_same_document(other_screen)
    expect(other_screen.get_by_role("button", name=re.compile("nouve"))).to_be_visible()

    page.get_by_role("link", name=re.compile("^Déplacer")).click()
    form.get_by_label("Durée en minutes").fill("30")
    form.get_by_label("Durée en minutes").press("Tab")
    expect(form.get_by_role("button", name="18:30")).to_be_visible()
    form.get_by_label("Heure").fill("11:00")
    form.get_by_label(re.compile("^Prix")).fill("80")
    form.get_by_role("button", name="Enregistrer", exact=True).click()
    expect(form.get_by_role("alert")).to_have_text(re.compile(r"80,00.€"))
    form.get_by_role("button", name="Enregistrer", exact=True).click()
    expect(page.get_by_text(re.compile("11:00–11:30"))).to_be_visible()
    pages.expect_same_document(page)

    page.locator("#patient-name").get_by_role("link", name="Léa Colin").click()
    page.get_by_role("link", name="Modifier", exact=True).click()
    page.get_by_label("Téléphone").fill("06 39 98 01 42")
    page.get_by_role("button", name="Enregistrer", exact=True).click()
    expect(page.get_by_role("link", name="06 39 98 01 42")).to_be_visible()


def test_an_appointment_is_booked_without_javascript(clinic: Clinic, new_context: NewContext) -> None:
    desk = browser_of(clinic.staff[0], clinic, new_context, java_script_enabled=False)
    page = desk.new_page()
    page.goto(f"/desk/book/?day={next_week()}")
    page.get_by_label("Nom, téléphone ou e-mail").fill("canary")
    page.get_by_role("button", name="Rechercher").click()
    page.get_by_role("button", name=re.compile("Canary")).first.click()
    page.get_by_label("Praticien").select_option("Dr Anne Mercier")
    page.get_by_label("Prestation").select_option("Bilan")
    page.get_by_label("Heure").fill("10:15")
    page.get_by_label(re.compile("^Prix")).fill("90")
    page.get_by_role("button", name=re.compile("^Réserver")).click()
    expect(page.get_by_text("10:15–")).to_be_visible()
