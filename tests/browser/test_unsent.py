"""Tests that a page keeps what was typed if the login session has ended or the user must first prove their identity."""

import re
import sqlite3

import pytest
from django.contrib.sessions.backends.db import SessionStore
from playwright.sync_api import BrowserContext, Page, expect

from payments.models import Payment
from tests.browser import pages
from tests.browser.conftest import PASSWORD, NewContext
from tests.browser.pages import browser_of, expect_live, open_live
from tests.browser.test_accessibility import check
from tests.clinic import Clinic, Person

NOTE = "Maman appelle lundi : été, œuf & <b>"


@pytest.fixture
def desk_path(patient: Person) -> str:
    return f"/desk/{patient.references[0]}/"


@pytest.fixture
def desk(clinic: Clinic, new_context: NewContext) -> BrowserContext:
    return browser_of(clinic.staff[0], clinic, new_context)


def end_session(clinic: Clinic, person: Person) -> None:
    with sqlite3.connect(clinic.site.database_file, timeout=10) as database:
        database.execute("DELETE FROM django_session WHERE session_key = ?", (person.session,))


def move_back_sign_in(clinic: Clinic, context: BrowserContext, seconds: int) -> None:
    """Change the login session of this browser so that its person seems to have signed in `seconds` earlier."""
    [key] = [cookie["value"] for cookie in context.cookies() if cookie["name"] == "sessionid"]
    with sqlite3.connect(clinic.site.database_file, timeout=10) as database:
        select = "SELECT session_data FROM django_session WHERE session_key = ?"
        session = SessionStore().decode(database.execute(select, (key,)).fetchone()[0])
        session["signed_in_at"] -= seconds
        update = "UPDATE django_session SET session_data = ? WHERE session_key = ?"
        database.execute(update, (SessionStore().encode(session), key))


def sign_in_again(page: Page, person: Person) -> None:
    page.get_by_label("Nom d’utilisateur").fill(person.name)
    page.get_by_label("Mot de passe").fill(PASSWORD)
    page.get_by_role("button", name="Se connecter", exact=True).click()


def test_a_note_typed_after_the_session_ended_is_back_after_signing_in(
    clinic: Clinic, desk: BrowserContext, desk_path: str
) -> None:
    page = open_live(desk, desk_path)
    page.get_by_label("Note pour les collègues").fill(NOTE)
    end_session(clinic, clinic.staff[0])
    page.get_by_role("button", name="Enregistrer la note").click()
    expect(page).to_have_url(re.compile("/login/"))
    expect(page.get_by_text("Rien n’a encore été envoyé")).to_be_visible()
    check(page)
    assert "Maman" not in page.url
    sign_in_again(page, clinic.staff[0])
    expect(page).to_have_url(clinic.site.url + desk_path)
    expect(page.get_by_label("Note pour les collègues")).to_have_value(NOTE)
    check(page)
    page.get_by_role("button", name="Enregistrer la note").click()
    expect(page.locator(".kept").get_by_text(NOTE)).to_be_visible()
    expect(page.get_by_label("Note pour les collègues")).to_have_value("")


def test_the_next_person_at_this_computer_does_not_see_it(
    clinic: Clinic, patient: Person, desk: BrowserContext, desk_path: str
) -> None:
    page = open_live(desk, desk_path)
    page.get_by_label("Note pour les collègues").fill(NOTE)
    end_session(clinic, clinic.staff[0])
    page.get_by_role("button", name="Enregistrer la note").click()
    sign_in_again(page, patient)
    expect(page.locator("form[action*=logout]")).to_be_visible()
    page.goto(f"/appointments/{patient.references[0]}/")
    page.locator("form[action*=logout] button").click()
    sign_in_again(page, clinic.staff[0])
    expect(page).to_have_url(re.compile("/desk/$"))
    page.goto(desk_path)
    expect(page.get_by_label("Note pour les collègues")).to_have_value("")


def test_paying_after_the_session_ended_leads_back_and_then_to_stripe(
    clinic: Clinic, patient: Person, payment: Payment, new_context: NewContext
) -> None:
    page = open_live(browser_of(patient, clinic, new_context), "/appointments/")
    end_session(clinic, patient)
    page.get_by_role("button", name=re.compile("Payer en ligne")).first.click()
    expect(page).to_have_url(re.compile("/login/"))
    sign_in_again(page, patient)
    expect(page).to_have_url(f"{clinic.site.url}/appointments/")
    pages.start_paying(page)


def test_a_fragment_that_is_refused_leaves_the_page_and_signing_in_beside_it_loses_nothing(
    clinic: Clinic, desk: BrowserContext, desk_path: str
) -> None:
    page = open_live(desk, desk_path)
    page.get_by_label("Note pour les collègues").fill(NOTE)
    end_session(clinic, clinic.staff[0])
    with page.expect_response(re.compile("/timeline/")) as asked:
        page.locator("[hx-get*=timeline]").evaluate("node => node.dispatchEvent(new CustomEvent('payments:changed'))")
    assert asked.value.status == 401
    expect_live(page, "signed-out")
    pages.expect_same_document(page)
    expect(page.get_by_role("heading", name="Vous êtes déconnecté(e)")).to_be_visible()
    expect(page.locator("main")).to_be_hidden()
    expect(page).not_to_have_title(re.compile("Canary"))
    check(page)
    page.keyboard.press("Escape")
    with desk.expect_page() as opened:
        page.get_by_role("link", name="Se reconnecter").click()
    sign_in_again(opened.value, clinic.staff[0])
    expect(opened.value).to_have_url(clinic.site.url + desk_path)
    opened.value.close()
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")  # headless Chromium hides no tab
    pages.expect_same_document(page)
    expect(page).to_have_title(re.compile("Canary"))
    expect(page.get_by_label("Note pour les collègues")).to_have_value(NOTE)
    page.get_by_role("button", name="Enregistrer la note").click()
    expect(page.get_by_text("ouverte depuis trop longtemps")).to_be_visible()
    expect(page).to_have_url(clinic.site.url + desk_path)
    expect(page.get_by_label("Note pour les collègues")).to_have_value(NOTE)
    page.get_by_role("button", name="Enregistrer la note").click()
    expect(page.locator(".kept").get_by_text(NOTE)).to_be_visible()


@pytest.mark.parametrize(("opened_at", "stopped_at"), [("dialog", "Continuer"), ("page", "Rembourser")])
def test_a_refund_goes_on_where_the_proof_of_identity_stopped_it(
    clinic: Clinic, patient: Person, payment: Payment, new_context: NewContext, opened_at: str, stopped_at: str
) -> None:
    clerk, desk_path = clinic.staff[0], f"/desk/{patient.references[0]}/"
    pages.join(clinic, clerk, "front desk")
    phone = browser_of(patient, clinic, new_context, **pages.PHONE).new_page()
    phone.goto(f"/appointments/{patient.references[0]}/")
    pages.start_paying(phone)
    pages.pay_by_card(phone, pages.PAID)
    pages.expect_status(phone, payment, "paid")

    page = new_context(base_url=clinic.site.url).new_page()
    pages.sign_in(page, clerk.name, PASSWORD)
    expect(page).to_have_url(re.compile("/desk/$"))
    if opened_at == "dialog":
        page.locator(f"#open-{patient.references[0]}").click()
        page.get_by_role("link", name="Rembourser…").click()
    else:
        page.goto(f"{desk_path}refund/")
    page.get_by_role("textbox", name="Montant").fill("12,34")
    if stopped_at == "Rembourser":
        page.get_by_role("button", name="Continuer").click()
        expect(page.get_by_role("heading", name=re.compile("Rembourser 12,34"))).to_be_visible()
    move_back_sign_in(clinic, page.context, 600)
    page.get_by_role("button", name=stopped_at).click()
    expect(page).to_have_url(re.compile("/reauthenticate/"))
    check(page)
    expect(page.get_by_label("Mot de passe")).to_be_focused()
    page.keyboard.type(PASSWORD)
    page.get_by_role("button", name="Confirmer").click()
    expect(page).to_have_url(f"{clinic.site.url}{desk_path}refund/")
    expect(page.get_by_role("heading", name=re.compile("Rembourser 12,34"))).to_be_visible()
    check(page)
    expect(page.get_by_text("Cela n’a pas encore été envoyé")).to_be_visible()
    page.get_by_role("button", name="Rembourser").click()
    expect(page).to_have_url(clinic.site.url + desk_path)
    pages.expect_status(page, payment, "partially_refunded")
