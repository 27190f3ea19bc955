"""The front desk's day, by mouse and by keyboard, with the patient's phone beside it."""

import re

import pytest
from playwright.sync_api import Page, expect

from payments.models import Payment
from tests.browser import pages
from tests.browser.conftest import NewContext
from tests.browser.pages import PHONE, browser_of, expect_status, open_live
from tests.clinic import Clinic, Person

JOIN = """
from django.contrib.auth.models import Group, User
User.objects.get(username={name!r}).groups.add(Group.objects.get(name={group!r}))
"""


@pytest.fixture
def desk_path(patient: Person) -> str:
    return f"/desk/{patient.references[0]}/"


def joins(clinic: Clinic, person: Person, group: str) -> None:
    clinic.site.manage("shell", "--no-imports", "--command", JOIN.format(name=person.name, group=group))


def test_a_patient_pays_by_phone_at_the_desk_whose_screen_turns_green(
    clinic: Clinic, payment: Payment, desk_path: str, new_context: NewContext
) -> None:
    screen = open_live(browser_of(clinic.staff[0], clinic, new_context), f"{desk_path}collect/")
    link = screen.get_by_role("link", name="Ouvrir le lien").get_attribute("href")
    phone = new_context(**PHONE).new_page()
    phone.goto(str(link))
    pages.start_paying(phone)
    pages.pay_by_card(phone, pages.PAID)
    expect(phone).to_have_url(re.compile("/p/"))
    expect(phone.get_by_text("Merci, votre paiement est confirmé.")).to_be_visible()
    expect(screen.get_by_role("heading", name="Payé, merci")).to_be_visible()
    expect(screen.locator(".qr")).to_be_hidden()
    pages.expect_same_document(screen)


def refund(screen: Page, desk_path: str, amount: str = "") -> None:
    screen.goto(f"{desk_path}refund/")
    if amount:
        screen.get_by_label("Un autre montant").check()
        screen.get_by_role("textbox", name="Montant").fill(amount)
    screen.get_by_role("button", name="Continuer").click()
    screen.get_by_role("button", name="Rembourser").click()


def test_a_refund_of_a_part_and_then_of_the_rest(
    clinic: Clinic, patient: Person, payment: Payment, desk_path: str, new_context: NewContext
) -> None:
    joins(clinic, clinic.staff[0], "front desk")
    screen = browser_of(clinic.staff[0], clinic, new_context).new_page()
    own = open_live(browser_of(patient, clinic, new_context), f"/appointments/{patient.references[0]}/")
    phone = browser_of(patient, clinic, new_context, **PHONE).new_page()
    phone.goto(f"/appointments/{patient.references[0]}/")
    pages.start_paying(phone)
    pages.pay_by_card(phone, pages.PAID)
    expect_status(own, payment, "paid")
    refund(screen, desk_path, "20,50")
    expect_status(screen, payment, "partially_refunded")
    expect(own.get_by_text(re.compile("20,50.€ sur 50,00.€ vous ont été remboursés"))).to_be_visible()
    refund(screen, desk_path)
    expect_status(screen, payment, "refunded")
    expect_status(own, payment, "refunded")
    pages.expect_same_document(own)


def test_the_tabs_count_anew_when_a_payment_moves(clinic: Clinic, payment: Payment, new_context: NewContext) -> None:
    screen = open_live(browser_of(clinic.staff[0], clinic, new_context), "/desk/")
    expect(screen.locator("[data-tab=to_pay] .count")).to_have_text("6")
    assert clinic.tell(clinic.story().completed()) == 200
    expect(screen.locator("[data-tab=to_pay] .count")).to_have_text("5")
    expect(screen.locator("[data-tab=paid] .count")).to_have_text("1")
    pages.expect_same_document(screen)


def test_the_day_list_works_by_keyboard(clinic: Clinic, patient: Person, new_context: NewContext) -> None:
    screen = open_live(browser_of(clinic.staff[0], clinic, new_context), "/desk/")
    links = screen.locator("table.day .who a")
    screen.keyboard.press("?")
    expect(screen.get_by_role("dialog", name="Raccourcis")).to_be_visible()
    screen.keyboard.press("Escape")
    expect(screen.get_by_role("dialog", name="Raccourcis")).to_be_hidden()
    for key, row in (("j", 0), ("j", 1), ("k", 0), ("k", 0)):
        screen.keyboard.press(key)
        expect(links.nth(row)).to_be_focused()
    screen.keyboard.press("/")
    expect(screen.get_by_role("searchbox")).to_be_focused()
    screen.keyboard.type(patient.references[1].lower())
    screen.keyboard.press("Enter")
    expect(links).to_have_count(1)
    screen.keyboard.press("j")
    screen.keyboard.press("Enter")
    expect(screen).to_have_url(re.compile(f"/desk/{patient.references[1]}/"))
