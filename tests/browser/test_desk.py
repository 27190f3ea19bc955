"""Tests of the front desk's pages by mouse, keyboard and screen reader, some together with a patient's phone."""

import csv
import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from payments.models import Payment
from tests.browser import pages
from tests.browser.conftest import NewContext
from tests.browser.pages import PHONE, browser_of, expect_live, expect_status, open_live
from tests.clinic import Clinic, Person


@pytest.fixture
def desk_path(patient: Person) -> str:
    return f"/desk/{patient.references[0]}/"


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
    expect(phone.get_by_text("Voici votre reçu")).to_be_visible()
    expect(screen.get_by_role("heading", name="Payé, merci")).to_be_visible()
    expect(screen.locator(".qr")).to_be_hidden()
    pages.expect_same_document(screen)


def test_the_desks_screen_asks_for_the_rest_when_a_part_is_taken_meanwhile(
    clinic: Clinic, payment: Payment, desk_path: str, new_context: NewContext
) -> None:
    desk = browser_of(clinic.staff[0], clinic, new_context)
    screen, till = open_live(desk, f"{desk_path}collect/"), desk.new_page()
    expect(screen.locator(".price")).to_have_text(re.compile(r"^50,00.€$"))
    till.goto(f"{desk_path}take/")
    till.get_by_role("textbox", name="Montant").fill("20")
    till.get_by_role("button", name="Enregistrer l’encaissement").click()
    expect(screen.locator(".price")).to_have_text(re.compile(r"^30,00.€$"))
    expect(screen.get_by_text(re.compile(r"Nous avons reçu 20,00.€. Il reste 30,00.€ à payer."))).to_be_visible()
    expect(screen.locator(".qr")).to_be_visible()
    pages.expect_same_document(screen)


def test_a_list_cuts_names_of_any_length(clinic: Clinic, patient: Person, new_context: NewContext) -> None:
    """One endless name neither pushes the list's next rows out of view nor makes the page wider."""
    lists = {
        "/desk/": (clinic.staff[0], ".row", ".who, .with"),
        "/appointments/": (patient, ".visit", "h3 a, .about > .soft"),
    }
    for path, (person, row, names) in lists.items():
        page = browser_of(person, clinic, new_context).new_page()
        page.goto(path)
        first = page.locator(row).first
        before = first.bounding_box()
        first.locator(names).evaluate_all("(found) => found.forEach((name) => (name.textContent = 'x'.repeat(5000)))")
        after = first.bounding_box()
        assert before
        assert after
        assert after["height"] < before["height"] + 80
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def refund(screen: Page, desk_path: str, amount: str = "") -> None:
    screen.goto(f"{desk_path}refund/")
    if amount:
        screen.get_by_role("textbox", name="Montant").fill(amount)
    screen.get_by_role("button", name="Continuer").click()
    screen.get_by_role("button", name="Rembourser").click()


def test_the_dialogs_count_while_one_types(clinic: Clinic, desk_path: str, new_context: NewContext) -> None:
    pages.join(clinic, clinic.staff[0], "front desk")
    screen = browser_of(clinic.staff[0], clinic, new_context).new_page()
    screen.goto(f"{desk_path}take/")
    given, change = screen.get_by_label("Donné par le patient"), screen.get_by_text("Monnaie à rendre")
    expect(change).to_be_hidden()
    given.fill("70")
    expect(change).to_have_text(re.compile(r"20,00.€"))
    screen.get_by_label("Chèque").check()
    expect(given).to_be_hidden()
    expect(screen.get_by_label("Remis en banque le")).to_be_visible()
    screen.get_by_label("Espèces").check()
    screen.get_by_role("button", name="Enregistrer l’encaissement").click()
    expect(screen.get_by_text(re.compile(r"Monnaie à rendre\s: 20,00.€"))).to_be_visible()

    screen.goto(f"{desk_path}cancel/")
    screen.get_by_label("La clinique garde").fill("30")
    screen.get_by_role("button", name="Annuler le rendez-vous").click()
    amount, question = screen.get_by_role("textbox", name="Montant"), screen.get_by_role("group", name="Ensuite")
    expect(amount).to_have_value("20,00")  # what is more than the fee, which nobody owes
    expect(question).to_be_hidden()
    screen.get_by_role("button", name="Tout ce qui reste").click()
    expect(amount).to_have_value("50,00")
    expect(question).to_be_visible()
    amount.fill("12,50")
    screen.get_by_role("button", name="Continuer").click()
    screen.get_by_role("button", name="Modifier").click()
    expect(amount).to_have_value("12,50")
    screen.get_by_role("button", name="Continuer").click()
    screen.get_by_role("button", name="Rembourser 12,50").click()
    movements = screen.get_by_role("region", name="Mouvements")
    expect(movements.get_by_role("listitem")).to_have_count(2)
    movements.get_by_role("link", name="Saisi par erreur").last.click()
    screen.get_by_label("Motif").fill("Mauvais billet")
    screen.get_by_role("button", name="C’était une erreur").click()
    expect(movements.get_by_text("Mauvais billet")).to_be_visible()


def rows_of_export(screen: Page) -> list[dict[str, str]]:
    screen.goto("/desk/")
    with screen.expect_download() as waited:
        screen.get_by_role("link", name="Télécharger en CSV").click()
    with waited.value.path().open(encoding="utf-8-sig") as file:
        return list(csv.DictReader(file, delimiter=";"))


def test_a_clerk_refunds_up_to_the_limit_and_an_accountant_the_rest(
    make_clinic: Callable[..., Clinic], new_context: NewContext
) -> None:
    clinic = make_clinic(FRONT_DESK_REFUND_LIMITS="eur=3000")
    clerk, patient, payment = clinic.staff[0], clinic.patients[0], clinic.patients[0].payments[0]
    pages.join(clinic, clerk, "front desk")
    screen, desk_path = browser_of(clerk, clinic, new_context).new_page(), f"/desk/{patient.references[0]}/"
    own = open_live(browser_of(patient, clinic, new_context), f"/appointments/{patient.references[0]}/")
    phone = browser_of(patient, clinic, new_context, **PHONE).new_page()
    phone.goto(f"/appointments/{patient.references[0]}/")
    pages.start_paying(phone)
    pages.pay_by_card(phone, pages.PAID)
    expect_status(own, payment, "paid")

    screen.goto(f"{desk_path}refund/")
    screen.get_by_role("button", name="Continuer").click()
    expect(screen.get_by_role("alert")).to_have_text(re.compile("rembourser au plus 30,00.€ de ce paiement"))
    refund(screen, desk_path, "20,50")
    expect_status(screen, payment, "partially_refunded")
    expect(own.get_by_text(re.compile("Nous vous avons remboursé 20,50.€ sur 50,00.€"))).to_be_visible()
    assert screen.request.get("/desk/export.csv").status == 403

    pages.join(clinic, clerk, "accountant")
    refund(screen, desk_path)
    expect_status(screen, payment, "refunded")
    expect_status(own, payment, "refunded")
    pages.expect_same_document(own)
    row = next(row for row in rows_of_export(screen) if patient.references[0] in row.values())
    assert (row["Reçu"], row["Remboursé"]) == ("50,00", "50,00")


def test_a_case_to_review_appears_and_is_solved_on_the_open_queue(new_clinic: Clinic, new_context: NewContext) -> None:
    clinic, patient = new_clinic, new_clinic.patients[0]
    desk_path = f"/desk/{patient.references[0]}/"
    pages.join(clinic, clinic.staff[0], "front desk")
    context = browser_of(clinic.staff[0], clinic, new_context)
    queue, screen = open_live(context, "/review/"), context.new_page()
    expect(queue.get_by_text("Rien à vérifier")).to_be_visible()
    phone = browser_of(patient, clinic, new_context, **PHONE).new_page()
    phone.goto(f"/appointments/{patient.references[0]}/")
    pages.start_paying(phone)
    pages.pay_by_card(phone, pages.PAID)
    expect_status(phone, patient.payments[0], "paid")
    expect(queue.get_by_role("button", name="nouveau")).to_be_hidden()
    screen.goto(f"{desk_path}cancel/")
    screen.get_by_role("button", name="Annuler le rendez-vous").click()
    queue.get_by_role("button", name="1 nouveau").click()
    case = queue.get_by_role("listitem").filter(has_text="Payé, mais le créneau a été redonné")
    expect(case.get_by_role("link", name="Rembourser")).to_be_visible()
    refund(screen, desk_path)
    expect(case.get_by_text("Réglé")).to_be_visible()
    expect(case.get_by_role("link", name="Rembourser")).to_be_hidden()
    pages.expect_same_document(queue)


def test_a_payment_that_moves_is_counted_and_told_to_eyes_and_ears(new_clinic: Clinic, new_context: NewContext) -> None:
    clinic = new_clinic
    screen = open_live(browser_of(clinic.staff[0], clinic, new_context), "/desk/")
    expect(screen.locator("[data-tab=to_pay] .count")).to_have_text("6")
    assert clinic.tell(clinic.story().completed()) == 200
    expect(screen.locator("[data-tab=to_pay] .count")).to_have_text("5")
    expect(screen.locator("[data-tab=paid] .count")).to_have_text("1")
    expect(pages.news(screen)).to_contain_text("a payé 50,00")
    expect(screen.get_by_role("navigation", name="État du paiement")).to_be_visible()
    expect(screen.locator(".till .in")).to_contain_text("50,00")
    spoken = screen.locator("connection-state").get_by_role("status")
    for offline, words in ((True, "Hors ligne"), (False, "En direct")):
        screen.context.set_offline(offline)
        expect(spoken).to_contain_text(words)
    pages.expect_same_document(screen)


STORM = """setInterval(() => {
    const detail = { id: "another", day: "1970-01-01", reviews: [] };
    document.body.dispatchEvent(new CustomEvent("payment:updated", { bubbles: true, detail }));
}, 100); 0"""


def test_tabs_and_board_keep_current_while_changes_never_pause(new_clinic: Clinic, new_context: NewContext) -> None:
    """The tab counts and the operations board are still updated while changes arrive ten times a second.

    But the board asks for new figures much less often.
    """
    clinic = new_clinic
    pages.join(clinic, clinic.staff[0], "manager")
    context = browser_of(clinic.staff[0], clinic, new_context)
    day, board = open_live(context, "/desk/"), open_live(context, "/desk/operations/")
    asked: list[str] = []
    board.on("request", lambda request: asked.append(request.url))
    for screen in (day, board):
        screen.evaluate(STORM)
    assert clinic.tell(clinic.story().completed()) == 200
    expect(day.locator("[data-tab=paid] .count")).to_have_text("1")
    day.wait_for_timeout(5000)
    assert 3 <= len([url for url in asked if "/desk/operations/" in url]) <= 12
    day.locator("form[action*=logout] button").click()
    expect_live(board, "signed-out")
    asked.clear()
    board.wait_for_timeout(2500)
    assert asked == []


def test_the_sheets_parts_alone_are_fetched_and_only_when_their_payment_changes(
    new_clinic: Clinic, new_context: NewContext
) -> None:
    clinic, patient = new_clinic, new_clinic.patients[0]
    desk_path = f"/desk/{patient.references[0]}/"
    screen = open_live(browser_of(clinic.staff[0], clinic, new_context), desk_path)
    asked: list[str] = []
    ours = (f"appointment={patient.references[0]}", desk_path)
    screen.on("request", lambda request: asked.append(request.url.removeprefix(clinic.site.url)))
    assert clinic.tell(clinic.story(payment=1).completed()) == 200
    expect(pages.news(screen)).to_have_count(1)
    screen.wait_for_timeout(6000)
    assert not [path for path in asked if any(name in path for name in ours)]
    with screen.expect_response(f"**{desk_path}timeline/"), screen.expect_response(f"**{desk_path}movements/"):
        assert clinic.tell(clinic.story().completed()) == 200
    expect(screen.locator(".timeline li[data-status=paid]")).to_have_count(1)
    expect(screen.get_by_role("region", name="Mouvements").get_by_role("listitem")).to_have_count(1)
    fetched = [path for path in asked if any(name in path for name in ours)]
    assert len(fetched) == len(set(fetched)) == 3


def test_the_day_list_works_by_keyboard(clinic: Clinic, patient: Person, new_context: NewContext) -> None:
    screen = open_live(browser_of(clinic.staff[0], clinic, new_context), "/desk/")
    links = screen.locator(".rows .who")
    for key, row in (("j", 0), ("j", 1), ("k", 0), ("ArrowUp", 0)):
        screen.keyboard.press(key)
        expect(links.nth(row)).to_be_focused()
    screen.keyboard.press("?")
    expect(screen.get_by_role("dialog", name="Raccourcis clavier")).to_be_visible()
    screen.keyboard.press("Escape")
    screen.keyboard.press("n")
    expect(screen.get_by_label("Nom, téléphone ou e-mail")).to_be_focused()
    screen.keyboard.press("Escape")
    screen.keyboard.press("/")
    expect(screen.get_by_role("searchbox")).to_be_focused()
    screen.keyboard.type(patient.references[1].lower())
    screen.keyboard.press("Enter")
    expect(links).to_have_count(1)
    screen.keyboard.press("j")
    screen.keyboard.press("Enter")
    expect(screen.locator("#sheet")).to_be_focused()
    screen.keyboard.press("4")
    expect(screen.locator("#take_amount")).to_be_focused()
    screen.keyboard.type("20")
    screen.keyboard.press("Enter")
    expect(screen.get_by_text(re.compile("Encaissement de 20,00.€ enregistré"))).to_be_in_viewport()
    expect(screen.locator("#sheet")).to_be_focused()
    screen.keyboard.press("4")
    expect(screen.locator("#take_amount")).to_be_focused()
    screen.keyboard.press("Enter")
    expect_status(screen, patient.payments[1], "paid")
    expect(screen.get_by_text(re.compile("Encaissement de 30,01.€ enregistré"))).to_be_visible()
