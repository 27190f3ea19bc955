"""Tests of closing the till's day in a browser: counting, a difference, sealing; the sums are those of the journal."""

import re

from playwright.sync_api import Page, expect

from tests.browser import pages
from tests.browser.conftest import NewContext
from tests.browser.pages import PHONE, browser_of
from tests.browser.test_accessibility import check
from tests.clinic import Clinic


def take(screen: Page, reference: str, amount: str, method: str) -> None:
    screen.goto(f"/desk/{reference}/take/")
    screen.get_by_label(method).check()
    screen.get_by_role("textbox", name="Montant").fill(amount)
    screen.get_by_role("button", name="Enregistrer l’encaissement").click()
    expect(screen.get_by_role("region", name="Mouvements")).to_be_visible()


def sums_of(screen: Page) -> dict[str, list[str]]:
    """Return number, received, given back and net of each row of the page's first table of sums, by the row's name."""
    found = {}
    for row in screen.locator("table.tally").first.locator("tbody tr, tfoot tr").all():
        name, *cells = [re.sub(r"\s+", " ", text) for text in row.locator("th, td").all_inner_texts()]
        found[name.strip()] = cells[:4]
    return found


def take_a_day_s_money(clinic: Clinic, screen: Page, phone: Page) -> None:
    """Take cash, a card at the terminal and a cheque at the desk, while a patient pays online."""
    patient = clinic.patients[0]
    take(screen, patient.references[0], "50", "Espèces")
    take(screen, patient.references[1], "30", "Terminal de paiement")
    take(screen, patient.references[1], "20", "Chèque")
    phone.goto(f"/appointments/{patient.references[2]}/")
    pages.start_paying(phone)
    pages.pay_by_card(phone, pages.PAID)
    pages.expect_status(phone, patient.payments[2], "paid")
    pages.wait_until_told(clinic.site)


def count_two_euros_too_little(screen: Page) -> None:
    """Count 48 euros in notes and coins instead of 50, and check that the page says so while one types."""
    reason = screen.get_by_label("Motif de l’écart")
    expect(reason).to_be_hidden()
    screen.get_by_text("Compter par billets et pièces").click()
    screen.get_by_label(re.compile(r"^20,00.€")).fill("2")
    screen.get_by_label(re.compile(r"^2,00.€")).fill("4")
    expect(screen.get_by_label("Compté")).to_have_value("48,00")
    expect(screen.locator("[data-cash-gap]")).to_have_text(re.compile(r"^−2,00.€$"))
    expect(reason).to_be_visible()


def seal(screen: Page) -> None:
    screen.get_by_role("button", name="Sceller la clôture n° 1").click()


def test_a_day_is_closed_with_a_difference_and_its_sums_are_the_journals(
    new_clinic: Clinic, new_context: NewContext
) -> None:
    clinic = new_clinic
    pages.join(clinic, clinic.staff[0], "manager")
    screen = browser_of(clinic.staff[0], clinic, new_context).new_page()
    take_a_day_s_money(clinic, screen, browser_of(clinic.patients[0], clinic, new_context, **PHONE).new_page())
    screen.goto("/desk/closing/")
    count_two_euros_too_little(screen)
    seal(screen)
    expect(screen.get_by_role("alert")).to_have_text(re.compile("Indiquez d’où vient l’écart"))
    screen.get_by_label("Motif de l’écart").fill("Erreur de rendu de monnaie")
    seal(screen)
    expect(screen.get_by_role("heading", name="Sceller la clôture n° 1")).to_be_visible()
    seal(screen)
    expect(screen).to_have_url(re.compile("/desk/closing/1/$"))
    expect(screen.get_by_text("Erreur de rendu de monnaie")).to_be_visible()
    expect(screen.locator("tfoot .gap").first).to_have_text(re.compile(r"^−2,00.€$"))
    closed = sums_of(screen)

    screen.get_by_role("link", name="Journal", exact=True).click()
    expect(screen.get_by_role("heading", name="Journal")).to_be_visible()
    journal = sums_of(screen)
    online = closed.pop("En ligne")
    assert closed["Total"][0] == "4"
    assert journal == closed | {"Carte": online}
    correct_the_count(screen)


def correct_the_count(screen: Page) -> None:
    """Enter that the two euros were found, and check that another closing says so while the first stays as it was."""
    screen.goto("/desk/closing/1/")
    seal_of_first = screen.locator(".hash code").inner_text()
    screen.get_by_role("link", name="Corriger").click()
    screen.get_by_label(re.compile("^Espèces")).fill("50")
    screen.get_by_label("Motif de la correction").fill("Pièce retrouvée sous le tiroir")
    screen.get_by_role("button", name="Sceller la correction").click()
    expect(screen).to_have_url(re.compile("/desk/closing/2/$"))
    expect(screen.locator("tfoot .gap").first).to_have_text(re.compile(r"^\+2,00.€$"))
    screen.get_by_role("link", name="L’afficher").click()
    expect(screen.get_by_text("Corrigée par la clôture n° 2")).to_be_visible()
    expect(screen.locator("tfoot .gap").first).to_have_text(re.compile(r"^−2,00.€$"))
    expect(screen.locator(".hash code")).to_have_text(seal_of_first)


def test_every_page_of_the_till_is_accessible(new_clinic: Clinic, new_context: NewContext) -> None:
    clinic, reference = new_clinic, new_clinic.patients[0].references[0]
    pages.join(clinic, clinic.staff[0], "manager")
    screen = browser_of(clinic.staff[0], clinic, new_context).new_page()
    for path in ("/desk/closing/", "/desk/journal/", "/desk/closing/month/"):
        screen.goto(path)
        check(screen)
    take(screen, reference, "50", "Espèces")
    take(screen, clinic.patients[0].references[1], "50", "Chèque")
    screen.goto("/desk/closing/")
    screen.get_by_text("Compter par billets et pièces").click()
    seal(screen)
    expect(screen.get_by_role("alert")).to_have_count(1)
    check(screen)
    screen.get_by_label("Compté").fill("48")
    screen.get_by_label("Motif de l’écart").fill("Erreur de rendu de monnaie")
    seal(screen)
    check(screen)
    seal(screen)
    expect(screen).to_have_url(re.compile("/desk/closing/1/$"))
    for path in ("/desk/closing/1/", "/desk/closing/1/correct/", "/desk/closing/", "/desk/closing/month/",
                 "/desk/journal/"):  # fmt: skip
        screen.goto(path)
        check(screen)
    screen.get_by_role("button", name="English").click()
    for path in ("/desk/closing/", "/desk/closing/1/", "/desk/closing/month/", "/desk/journal/"):
        screen.goto(path)
        check(screen)


def test_a_closing_is_printed_on_paper_with_everything_that_was_sealed(
    new_clinic: Clinic, new_context: NewContext
) -> None:
    clinic, patient = new_clinic, new_clinic.patients[0]
    pages.join(clinic, clinic.staff[0], "front desk")
    screen = browser_of(clinic.staff[0], clinic, new_context).new_page()
    take(screen, patient.references[0], "50", "Espèces")
    screen.goto("/desk/closing/")
    screen.get_by_label("Compté").fill("50")
    seal(screen)
    seal(screen)
    expect(screen.get_by_role("button", name="Imprimer")).to_be_visible()
    screen.emulate_media(media="print")
    expect(screen.get_by_text("Date et signature")).to_be_visible()
    expect(screen.get_by_role("cell", name=patient.references[0])).to_be_visible()
    expect(screen.get_by_role("button", name="Imprimer")).to_be_hidden()


def test_the_till_works_without_javascript(new_clinic: Clinic, new_context: NewContext) -> None:
    clinic, patient = new_clinic, new_clinic.patients[0]
    pages.join(clinic, clinic.staff[0], "front desk")
    screen = browser_of(clinic.staff[0], clinic, new_context, java_script_enabled=False).new_page()
    take(screen, patient.references[0], "50", "Espèces")
    screen.goto("/desk/closing/")
    screen.get_by_label("Compté").fill("48")
    screen.get_by_label("Motif de l’écart").fill("Erreur de rendu")
    seal(screen)
    seal(screen)
    expect(screen).to_have_url(re.compile("/desk/closing/1/$"))
