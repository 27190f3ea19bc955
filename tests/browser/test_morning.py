"""A receptionist's morning on one screen, while a second screen follows: from the first booking to the closed day."""

import json
import re
import urllib.request

from playwright.sync_api import BrowserContext, Locator, Page, expect

from tests.browser import pages
from tests.browser.conftest import PASSWORD, NewContext
from tests.browser.pages import PHONE, expect_same_document, open_live
from tests.clinic import Clinic

WIDE = {"viewport": {"width": 1440, "height": 900}}
NEWCOMER = "Nora Vidal"


def test_a_receptionist_s_morning_on_one_screen(new_clinic: Clinic, new_context: NewContext) -> None:
    clinic, (canceled, owing) = new_clinic, new_clinic.patients
    pages.join(clinic, clinic.staff[0], "manager")
    desk = new_context(base_url=clinic.site.url, **WIDE)
    pages.sign_in(desk.new_page(), clinic.staff[0].name, PASSWORD)
    screen, other = open_live(desk, "/desk/"), open_live(desk, "/desk/")

    reference = book(screen)
    row = f"#row-{reference}"
    for page in (screen, other):
        page.get_by_role("button", name="Afficher 1 nouveau").click()
        expect(page.locator(row)).to_contain_text(NEWCOMER)
    other.locator(f"{row} .who").click()
    screen.locator(row).get_by_role("button", name="Arrivé").click()
    expect(other.locator(f"{row} .arrived")).to_be_visible()

    take_cash(screen, "20")
    expect(other.locator(".owed")).to_contain_text("70,00")
    pay_on_a_phone(screen, new_context(**PHONE))
    for page in (screen, other):
        expect(page.locator(".owed.is-paid")).to_contain_text("90,00")
    pages.wait_until_told(clinic.site)

    refund_a_part(screen, "12,34")
    for page in (screen, other):
        expect(page.get_by_role("region", name="Mouvements")).to_contain_text("−12,34")

    cancel_with_a_fee(screen, canceled.references[0], "10")
    expect(other.locator(f"#row-{canceled.references[0]} .due")).to_contain_text("10,00")
    send_two_links(screen, owing.references[:2])
    expect_same_document(screen)
    expect_same_document(other)

    at_stripe = sum(each["amount"] - each["amount_refunded"] for each in charges_at_stripe(clinic))
    assert at_stripe == 7000 - 1234
    closed = close_the_day(screen)
    assert closed["Espèces"][-1] == "20,00 €"
    assert closed["En ligne"][-1] == "57,66 €"
    journal = sums_of(screen, "/desk/journal/")
    assert {**journal, "En ligne": journal["Carte"]} == {**closed, "Carte": journal["Carte"]}


def sums_of(screen: Page, path: str) -> dict[str, list[str]]:
    """Return the cells of each row in the first table of sums of the page at `path`, by the row's name."""
    screen.goto(path)
    rows = screen.locator("table.tally").first.locator("tbody tr, tfoot tr").all()
    cells = [[re.sub(r"\s+", " ", text).strip() for text in row.locator("th, td").all_inner_texts()] for row in rows]
    return {name: values[:4] for name, *values in cells}


def book(screen: Page) -> str:
    """Book an appointment today for a patient whom nobody knows yet, and return its reference."""
    form = dialog(screen, "Rendez-vous")
    form.get_by_label("Nom, téléphone ou e-mail").press_sequentially(NEWCOMER)
    expect(form.get_by_text("Personne n’a ce nom")).to_be_visible()
    pages.fill_in_booking(form, "Nora", "Vidal")
    form.get_by_label("Heure").fill("15:00")
    form.get_by_role("button", name=re.compile("^Réserver .* 15:00$")).click()
    expect(screen.get_by_role("heading", name=NEWCOMER)).to_be_visible()
    return str(screen.locator("#sheet").get_attribute("data-reference"))


def dialog(screen: Page, link: str) -> Locator:
    """Press a link that opens a dialog over the counter, and return the dialog."""
    screen.get_by_role("link", name=re.compile(f"^{link}")).click()
    return screen.get_by_role("dialog")


def take_cash(screen: Page, amount: str) -> None:
    screen.get_by_role("link", name="Espèces").click()
    screen.locator("#take_amount").fill(amount)
    screen.get_by_role("button", name="Enregistrer l’encaissement").click()
    expect(screen.locator(".owed")).to_contain_text("70,00")


def pay_on_a_phone(screen: Page, phone: BrowserContext) -> None:
    """Pay the rest on a phone, at the address that the QR code on the screen holds."""
    screen.get_by_role("link", name="QR code").click()
    expect(screen.locator(".collecting .qr")).to_be_visible()
    screen.get_by_role("link", name="Lien", exact=True).click()
    page = phone.new_page()
    page.goto(screen.get_by_label("Lien pour payer").input_value())
    expect(page.get_by_text("70,00 €").first).to_be_visible()
    pages.start_paying(page)
    pages.pay_by_card(page, pages.PAID)
    expect(page.get_by_text("Voici votre reçu")).to_be_visible()


def refund_a_part(screen: Page, amount: str) -> None:
    form = dialog(screen, "Rembourser")
    form.get_by_role("textbox", name="Montant").fill(amount)
    form.get_by_role("button", name="Continuer").click()
    expect(form.get_by_role("heading", name=re.compile(f"Rembourser {amount}"))).to_be_visible()
    form.get_by_role("button", name="Rembourser").click()
    expect(form).to_be_hidden()


def cancel_with_a_fee(screen: Page, reference: str, fee: str) -> None:
    screen.locator(f"#row-{reference} .who").click()
    expect(screen.locator("#sheet")).to_have_attribute("data-reference", reference)
    form = dialog(screen, "Annuler…")
    form.get_by_label("La clinique garde").fill(fee)
    form.get_by_role("button", name="Annuler le rendez-vous").click()
    expect(form).to_be_hidden()


def send_two_links(screen: Page, references: list[str]) -> None:
    form = dialog(screen, "Envoyer des liens de paiement")
    expect(form.get_by_role("button", name="Envoyer")).to_be_visible()
    for box in form.get_by_role("checkbox").all():
        box.set_checked(str(box.get_attribute("value")).split(".")[0] in references)
    form.get_by_role("button", name="Envoyer").click()
    expect(form.get_by_text("2 liens partent par e-mail.")).to_be_visible()
    form.get_by_role("button", name="Fermer").click()


def close_the_day(screen: Page) -> dict[str, list[str]]:
    """Close the day with two euros too much in the till, and return the sealed sums."""
    screen.get_by_role("link", name="Clôturer").first.click()
    screen.get_by_label("Compté").fill("22")
    screen.get_by_label("Motif de l’écart").fill("Un patient n’a pas repris sa monnaie")
    screen.get_by_role("button", name="Sceller la clôture n° 1").click()
    screen.get_by_role("button", name="Sceller la clôture n° 1").click()
    expect(screen).to_have_url(re.compile("/desk/closing/1/$"))
    expect(screen.locator("tfoot .gap").first).to_have_text(re.compile(r"^\+2,00.€$"))
    return sums_of(screen, screen.url)


def charges_at_stripe(clinic: Clinic) -> list[dict[str, int]]:
    address = f"{clinic.site.sandbox_url}/v1/charges?limit=100"
    request = urllib.request.Request(
        address, headers={"Authorization": f"Bearer {clinic.site.settings['STRIPE_SECRET_KEY']}"}
    )
    with urllib.request.urlopen(request) as answer:
        return list(json.load(answer)["data"])
