"""Tests that staff send pay links, that a patient pays through one on a phone, and that all other links then end."""

import email
import re
from email.message import Message

import pytest
from playwright.sync_api import Page, expect

from tests.browser import pages
from tests.browser.conftest import NewContext
from tests.browser.pages import PAID, PHONE, browser_of
from tests.clinic import Clinic
from tests.live_site import LiveSite

pytestmark = pytest.mark.faults


def sent_by(site: LiveSite) -> list[Message]:
    """Have the site send its e-mails, and return all that it has sent so far."""
    site.manage("send_emails")
    found = []
    for path in sorted(site.mails.iterdir()):
        texts = path.read_bytes().split(b"-" * 79 + b"\n")
        found += [email.message_from_bytes(text) for text in texts if text.strip()]
    return found


def link_to(address: str, site: LiveSite) -> str:
    """Return the pay link in the newest e-mail to `address`."""
    message = [each for each in sent_by(site) if each["To"] == address][-1]
    part = next(each for each in message.walk() if each.get_content_type() == "text/plain")
    body = part.get_payload(decode=True)
    assert isinstance(body, bytes)
    found = re.search(r"\S+/p/pl-[\w-]+/", body.decode())
    assert found, body
    return found[0]


def pay(phone: Page, link: str) -> None:
    phone.goto(link)
    pages.start_paying(phone)
    pages.pay_by_card(phone, PAID)
    expect(phone.get_by_role("heading", name="Reçu de paiement")).to_be_visible()
    expect(phone.get_by_text("Il n’y a plus rien à payer.")).to_be_visible()
    expect(phone.get_by_role("button", name="Payer")).to_have_count(0)
    assert phone.evaluate("document.documentElement.scrollWidth") <= PHONE["viewport"]["width"]


def test_two_links_are_sent_one_is_paid_on_a_phone_and_the_other_is_ended(
    new_clinic: Clinic, new_context: NewContext
) -> None:
    clinic, (first, second) = new_clinic, new_clinic.patients
    desk = browser_of(clinic.staff[0], clinic, new_context).new_page()
    desk.goto("/desk/")
    desk.get_by_role("link", name="Envoyer des liens de paiement").click()
    chosen = (first.references[0], second.references[0])
    expect(desk.get_by_role("button", name="Envoyer")).to_be_visible()
    for box in desk.get_by_role("checkbox").all():
        box.set_checked(str(box.get_attribute("value")).split(".")[0] in chosen)
    desk.get_by_role("button", name="Envoyer").click()
    expect(desk.get_by_text("2 liens partent par e-mail.")).to_be_visible()

    paid, ended = (link_to(f"{person.name}@clinic.example", clinic.site) for person in (first, second))
    desk.goto(f"/desk/{first.references[0]}/collect/")
    code = str(desk.get_by_role("link", name="Ouvrir le lien").get_attribute("href"))
    assert code not in (paid, ended)

    phone = new_context(**PHONE).new_page()
    pay(phone, paid)
    expect(desk.get_by_role("heading", name="Payé, merci")).to_be_visible()
    phone.goto(code)
    expect(phone.get_by_role("heading", name="Reçu de paiement")).to_be_visible()

    desk.goto(f"/desk/{second.references[0]}/?way=link")
    desk.get_by_role("button", name="Désactiver ce lien (E-mail)").click()
    expect(desk.get_by_text("Le lien est désactivé.")).to_be_visible()
    phone.goto(ended)
    expect(phone.get_by_role("heading", name="Ce lien n’est plus valable")).to_be_visible()
    expect(phone.get_by_role("button", name="Payer")).to_have_count(0)

    clinic.site.manage("mirror")
    phone.goto(paid)
    expect(phone.get_by_text("Visa se terminant par 4242")).to_be_visible()
    phone.get_by_role("button", name="English").click()
    expect(phone.get_by_text("Visa ending in 4242")).to_be_visible()
