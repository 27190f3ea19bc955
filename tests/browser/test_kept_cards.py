"""Tests that a patient leaves a card, and that the desk charges a no-show fee to it, as people do in a browser."""

import re

import pytest
from playwright.sync_api import Page, expect

from payments.models import Payment
from tests.browser import pages
from tests.browser.conftest import NewContext
from tests.browser.pages import PHONE, browser_of, expect_status, open_live
from tests.browser.test_accessibility import check
from tests.clinic import Clinic, Person

pytestmark = pytest.mark.faults
ALWAYS_ASKS = "4000 0027 6000 3184"
ASK = """
from datetime import timedelta
from django.utils import timezone
from appointments.models import Appointment
visit = Appointment.objects.get(reference={!r})
visit.start = timezone.now() + timedelta(hours=1)  # no card is asked for after the visit
visit.end = visit.start + timedelta(hours=1)
visit.prepayment, visit.no_show_fee_amount = "card", 3000
visit.save()
"""


def leave_a_card(page: Page, clinic: Clinic, patient: Person, number: str) -> None:
    """Leave the card `number` on the patient's page and Stripe's, and come back to the patient's page."""
    path = f"/appointments/{patient.references[0]}/"
    clinic.site.manage("shell", "--no-imports", "--command", ASK.format(patient.references[0]))
    page.goto(path)
    check(page)
    page.get_by_role("link", name="Laisser une carte").click()
    expect(page.get_by_text("30,00 € au plus en tout")).to_be_visible()
    check(page)
    page.get_by_role("button", name="J’accepte : laisser ma carte").click()
    expect(page.locator(".consent")).to_contain_text("30,00 € au plus en tout")
    check(page)
    page.get_by_label("E-mail").fill("camille@example.com")
    page.get_by_label("Numéro de carte").fill(number)
    page.get_by_label("Expiration").fill("12 / 34")
    page.get_by_label("Code de sécurité").fill("123")
    page.get_by_label("Nom et prénom").fill("Camille Roux")
    page.get_by_role("button", name="Enregistrer la carte").click()
    if number == ALWAYS_ASKS:
        page.get_by_role("button", name="Confirmer le paiement").click()
    expect(page).to_have_url(re.compile(path))
    expect(page.get_by_text(f"Carte enregistrée : Visa •• {number[-4:]}, pour 30,00 € au plus")).to_be_visible()


def charge_the_fee(desk: Page) -> None:
    desk.locator(".acts .pop-up > summary").click()
    # The answer replaces the sheet; what is pressed before that would be lost.
    with desk.expect_event("requestfinished", lambda request: request.redirected_from is not None):
        desk.get_by_role("button", name="Absent(e)").click()
    expect(desk.locator("#sheet")).to_be_visible()
    desk.get_by_role("link", name="Débiter les frais d’absence").click()
    expect(desk.get_by_text("30,00 € au plus en tout").first).to_be_visible()
    check(desk)
    desk.get_by_role("button", name=re.compile("Débiter 30,00")).click()


def test_a_patient_leaves_a_card_and_the_desk_charges_the_no_show_fee(
    clinic: Clinic, patient: Person, payment: Payment, new_context: NewContext
) -> None:
    phone = browser_of(patient, clinic, new_context, **PHONE).new_page()
    desk = open_live(browser_of(clinic.staff[0], clinic, new_context), f"/desk/{patient.references[0]}/")
    leave_a_card(phone, clinic, patient, pages.PAID)
    expect(desk.get_by_text("Carte enregistrée : Visa •• 4242. 30,00 € au plus")).to_be_visible()
    pages.expect_same_document(desk)
    charge_the_fee(desk)
    expect_status(desk, payment, "paid")
    expect(desk.get_by_text("30,00 € débités de Visa •• 4242.")).to_be_visible()
    expect_status(phone, payment, "paid")
    expect(phone.get_by_text("Vous avez payé des frais d’absence de 30,00 €.")).to_be_visible()


def test_a_bank_that_wants_the_patient_leads_to_a_pay_link(
    clinic: Clinic, patient: Person, payment: Payment, new_context: NewContext
) -> None:
    phone = browser_of(patient, clinic, new_context, **PHONE).new_page()
    desk = browser_of(clinic.staff[0], clinic, new_context).new_page()
    leave_a_card(phone, clinic, patient, ALWAYS_ASKS)
    desk.goto(f"/desk/{patient.references[0]}/")
    charge_the_fee(desk)
    expect(desk.get_by_role("alert")).to_contain_text("La banque veut que le patient confirme ce paiement.")
    desk.get_by_role("link", name="Demander au patient de payer par lien").click()
    expect(desk.locator("main").get_by_text("30,00 €").first).to_be_visible()
    phone.reload()
    pages.start_paying(phone)
    pages.pay_by_card(phone, pages.PAID)
    expect_status(phone, payment, "paid")


def test_a_patient_has_the_card_removed(clinic: Clinic, patient: Person, new_context: NewContext) -> None:
    phone = browser_of(patient, clinic, new_context, **PHONE).new_page()
    leave_a_card(phone, clinic, patient, pages.PAID)
    phone.get_by_role("link", name="Supprimer cette carte").click()
    expect(phone.get_by_text("30,00 € au plus en tout (texte 1).")).to_be_visible()
    check(phone)
    phone.get_by_role("button", name="Supprimer la carte").click()
    expect(phone.get_by_text("La carte est supprimée.")).to_be_visible()
    expect(phone.get_by_role("link", name="Laisser une carte")).to_be_visible()
