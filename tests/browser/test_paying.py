"""Tests that every open page shows a payment that a patient makes on Stripe's page.

This also holds after declined cards, late webhooks or a server crash, and without WebSockets or JavaScript.
"""

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from payments.models import Payment
from tests.browser import pages
from tests.browser.conftest import PASSWORD, NewContext
from tests.browser.pages import DECLINED, PAID, PHONE, browser_of, expect_status, open_live
from tests.clinic import Clinic, Person

pytestmark = pytest.mark.faults


@pytest.fixture
def path(patient: Person) -> str:
    return f"/appointments/{patient.references[0]}/"


@pytest.fixture
def desk(clinic: Clinic, new_context: NewContext) -> Page:
    """Return a page that shows the front desk's day list, with its socket connected."""
    return open_live(browser_of(clinic.staff[0], clinic, new_context), "/desk/")


@pytest.fixture
def phone(clinic: Clinic, patient: Person, new_context: NewContext) -> Page:
    """Return an empty page in a phone-sized browser in which the patient is signed in."""
    return browser_of(patient, clinic, new_context, **PHONE).new_page()


def expect_paid_with_one_toast(page: Page, payment: Payment) -> None:
    expect_status(page, payment, "paid")
    expect(pages.toasts(page)).to_have_count(1)
    pages.expect_same_document(page)


def expect_paid_with_news(desk: Page, payment: Payment) -> None:
    expect_status(desk, payment, "paid")
    expect(pages.news(desk)).to_contain_text("a payé 50,00")
    pages.expect_same_document(desk)


def test_a_patient_pays_on_the_phone_and_every_open_screen_turns_paid(
    clinic: Clinic, patient: Person, payment: Payment, path: str, desk: Page, phone: Page, new_context: NewContext
) -> None:
    computer = open_live(browser_of(patient, clinic, new_context), path)
    phone.goto(path)
    pages.start_paying(phone)
    expect_status(desk, payment, "checkout_open")
    pages.pay_by_card(phone, PAID)
    expect(phone).to_have_url(re.compile(path))
    expect_status(phone, payment, "paid")
    pages.wait_until_told(clinic.site)
    for _ in range(2):
        expect_paid_with_one_toast(computer, payment)
        expect_paid_with_news(desk, payment)
        for screen in (computer, desk):
            pages.prove_current(screen)  # later events have arrived too
    expect(computer.get_by_role("button", name="Payer")).to_have_count(0)
    expect(computer.get_by_text("Merci, votre paiement est confirmé.")).to_be_visible()


def test_a_patient_whose_card_is_declined_pays_with_another(
    clinic: Clinic, payment: Payment, path: str, desk: Page, phone: Page
) -> None:
    reference = clinic.patients[0].references[0]
    phone.goto(path)
    pages.start_paying(phone)
    pages.pay_by_card(phone, DECLINED)
    expect(phone.get_by_role("alert")).to_contain_text("refusée")
    expect(pages.status_of(desk, payment)).to_contain_text("Carte refusée")
    expect(pages.news(desk)).to_contain_text("refusée")
    pages.pay_by_card(phone, PAID)
    expect(phone).to_have_url(re.compile(path))
    expect_status(phone, payment, "paid")
    pages.wait_until_told(clinic.site)
    expect_paid_with_news(desk, payment)
    desk.locator(f"#open-{reference}").click()
    expect(desk.locator(".timeline")).to_contain_text("sans motif")


def test_a_patient_pays_by_keyboard_alone(
    clinic: Clinic, patient: Person, payment: Payment, new_context: NewContext
) -> None:
    page = new_context(base_url=clinic.site.url).new_page()
    page.goto("/login/")
    for label, text in (("Nom d’utilisateur", patient.name), ("Mot de passe", PASSWORD)):
        pages.tab_to(page, page.get_by_label(label))
        page.keyboard.type(text)
    page.keyboard.press("Enter")
    pages.press(page, page.get_by_role("link", name="12:00"))
    pages.press(page, page.get_by_role("button", name="Payer en ligne"))
    fields = {"E-mail": "camille@example.com", "Numéro de carte": PAID, "Expiration": "1234", "Code de sécurité": "123"}
    for label, text in {**fields, "Nom et prénom": "Camille Roux"}.items():
        pages.tab_to(page, page.get_by_label(label))
        page.keyboard.type(text)
    pages.press(page, page.get_by_role("button", name="Payer"))
    expect_status(page, payment, "paid")
    pages.press(page, page.get_by_role("link", name="Reçu de paiement"))
    expect(page.get_by_role("heading", name="Reçu de paiement")).to_be_visible()
    expect(page.get_by_role("row", name="Total encaissé")).to_contain_text("50,00")


def test_a_patient_who_turns_back_at_stripe_goes_on_later_on_the_page_that_is_still_open(
    payment: Payment, path: str, phone: Page
) -> None:
    phone.goto(path)
    pages.start_paying(phone)
    first = phone.url
    phone.get_by_role("link", name="Retour").click()
    expect(phone).to_have_url(re.compile(path))
    expect_status(phone, payment, "checkout_open")
    phone.get_by_role("button", name="Continuer").click()
    expect(phone.get_by_role("button", name="Payer")).to_be_visible()
    assert phone.url == first


def return_before_the_webhook(phone: Page, path: str) -> None:
    """Pay by card on Stripe's page, and return to the site's page at `path` before the webhook arrives.

    Mark the document, so that `expect_same_document` notices a reload.
    """
    phone.goto(path)
    pages.start_paying(phone)
    pages.pay_by_card(phone, PAID)
    expect(phone).to_have_url(re.compile(path))
    expect(phone.get_by_text("Paiement reçu, confirmation en cours…")).to_be_visible()
    expect(phone.get_by_role("button", name="Payer")).to_have_count(0)
    pages.mark(phone)


def test_a_patient_back_before_a_late_webhook_sees_paid_without_doing_anything(
    clinic: Clinic, payment: Payment, path: str, desk: Page, phone: Page
) -> None:
    clinic.site.at_stripe("delivery", mode="delay", seconds=5)
    return_before_the_webhook(phone, path)
    expect_paid_with_one_toast(phone, payment)
    pages.wait_until_told(clinic.site)
    expect_paid_with_news(desk, payment)
    for screen in (phone, desk):
        pages.prove_current(screen)
    expect_paid_with_one_toast(phone, payment)
    expect_paid_with_news(desk, payment)


def test_a_page_that_can_not_ask_stripe_waits_for_the_webhook(
    clinic: Clinic, payment: Payment, path: str, phone: Page
) -> None:
    clinic.site.at_stripe("delivery", mode="hold")
    return_before_the_webhook(phone, path)
    clinic.site.at_stripe("api", mode="down")
    with phone.expect_response(re.compile("/confirm/")) as asked:
        phone.get_by_role("button", name="Vérifier maintenant").click()
    assert asked.value.status < 500
    expect(phone.get_by_text("Paiement reçu, confirmation en cours…")).to_be_visible()
    clinic.site.at_stripe("delivery", mode="normal")
    expect_status(phone, payment, "paid")


def test_a_payment_made_while_the_server_is_dead_shows_when_the_pages_have_reconnected(
    make_clinic: Callable[..., Clinic], new_context: NewContext
) -> None:
    """Pages show a payment that was made while the server was dead, once the server is back and they have reconnected.

    The delays between their attempts to reconnect are tested in tests/js.
    """
    clinic = make_clinic(sandbox_options=["--retry-base", "1"])
    site, patient = clinic.site, clinic.patients[0]
    phone = browser_of(patient, clinic, new_context, **PHONE).new_page()
    phone.goto(path := f"/appointments/{patient.references[0]}/")
    session = pages.start_paying(phone)
    computer = open_live(browser_of(patient, clinic, new_context), path)
    desk = open_live(browser_of(clinic.staff[0], clinic, new_context), "/desk/")
    site.kill()
    for screen in (computer, desk):
        pages.expect_live(screen, "reconnecting")
    assert site.at_stripe("pay", session=session, card=PAID)["session"]["payment_status"] == "paid"
    site.server.start()
    expect_paid_with_one_toast(computer, patient.payments[0])
    expect_paid_with_news(desk, patient.payments[0])


def test_people_without_javascript_pay_and_see_it(new_clinic: Clinic, new_context: NewContext) -> None:
    clinic, patient = new_clinic, new_clinic.patients[0]
    path = f"/appointments/{patient.references[0]}/"
    page = new_context(base_url=clinic.site.url, java_script_enabled=False, **PHONE).new_page()
    pages.sign_in(page, patient.name, PASSWORD)
    page.get_by_role("link", name="12:00").click()
    clinic.site.at_stripe("delivery", mode="hold")
    pages.start_paying(page)
    pages.pay_by_card(page, DECLINED)
    expect(page.get_by_role("alert")).to_contain_text("refusée")
    pages.pay_by_card(page, PAID)
    expect(page).to_have_url(re.compile(path))
    expect(page.get_by_text("Paiement reçu, confirmation en cours…")).to_be_visible()
    clinic.site.at_stripe("delivery", mode="normal")
    pages.wait_until_told(clinic.site)
    page.get_by_role("link", name="Actualiser").click()
    expect_status(page, patient.payments[0], "paid")
    expect(page.get_by_text("Merci, votre paiement est confirmé.")).to_be_visible()

    page.get_by_role("button", name="Se déconnecter").click()
    pages.sign_in(page, clinic.staff[0].name, PASSWORD)
    page.get_by_role("link", name="Payé 1").click()
    expect(page.locator(".row")).to_have_count(1)
    expect_status(page, patient.payments[0], "paid")
