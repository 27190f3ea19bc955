"""Tests of the counter as a receptionist works at it: the day's list and one appointment on one screen."""

import re

import pytest
from playwright.sync_api import Page, Route, expect

from payments.models import Payment
from tests.browser import pages
from tests.browser.conftest import PASSWORD, NewContext
from tests.browser.pages import PHONE, browser_of, expect_same_document, expect_status, go_live, open_live
from tests.browser.test_unsent import end_session
from tests.clinic import Clinic, Person
from tests.waits import wait_until

WIDE = {"viewport": {"width": 1440, "height": 900}}


@pytest.fixture
def screen(clinic: Clinic, new_context: NewContext) -> Page:
    """Return the counter on a wide screen, with its socket connected."""
    return open_live(browser_of(clinic.staff[0], clinic, new_context, **WIDE), "/desk/")


def open_row(screen: Page, reference: str) -> None:
    screen.locator(f"#open-{reference}").click()
    expect_sheet(screen, reference)


def expect_sheet(screen: Page, reference: str) -> None:
    """Expect the sheet of this appointment, its row marked, and its reference in the page's address."""
    expect(screen.locator("#sheet")).to_have_attribute("data-reference", reference)
    expect(screen.locator(".who[aria-current]")).to_have_attribute("id", f"open-{reference}")
    expect(screen).to_have_url(re.compile(f"appointment={reference}"))


def expect_table_on_paper(screen: Page, arrived: str) -> None:
    """Expect that the list prints on A4 as a table with a title, whose row `arrived` (a selector) tells an arrival."""
    screen.emulate_media(media="print")
    screen.set_viewport_size({"width": 718, "height": 1047})  # A4 without margins of 1 cm
    expect(screen.get_by_role("heading", level=1)).to_be_visible()
    expect(screen.locator(".heads")).to_be_visible()
    expect(screen.locator(f"{arrived} .arrived")).to_be_visible()
    places = screen.locator(".heads, .row").evaluate_all("""rows => rows.map(row => [...row.children].map(cell => {
      const { left, top, bottom } = cell.getBoundingClientRect();
      return [Math.round(left), top < row.getBoundingClientRect().bottom && bottom > row.getBoundingClientRect().top];
    }))""")
    assert len(places[0]) == 6
    assert all(row == places[0] for row in places)
    lines = screen.locator(".row").evaluate_all("rows => rows.map(row => row.getBoundingClientRect().height)")
    assert max(lines) < 70, lines
    screen.emulate_media(media="screen")
    screen.set_viewport_size({"width": 1440, "height": 900})


def references_of(clinic: Clinic) -> list[str]:
    """Return the references of the day's appointments in the order of the list: two patients take turns."""
    first, second = (patient.references for patient in clinic.patients)
    return [reference for pair in zip(first, second, strict=True) for reference in pair]


def test_a_row_opens_beside_the_list_and_back_closes_it_without_a_reload(
    new_clinic: Clinic, new_context: NewContext
) -> None:
    screen = open_live(browser_of(new_clinic.staff[0], new_clinic, new_context, **WIDE), "/desk/")
    one, two = references_of(new_clinic)[:2]
    asked: list[str] = []
    screen.on("request", lambda request: asked.append(request.url))
    open_row(screen, one)
    assert len([url for url in asked if "appointment=" in url]) == len(asked) == 1
    expect(screen.locator("#sheet")).to_be_focused()
    expect(screen).to_have_title(re.compile(one))
    open_row(screen, two)
    screen.go_back()
    expect_sheet(screen, one)
    screen.go_back()
    expect(screen.locator("#sheet.idle")).to_be_visible()
    expect(screen.locator(".who[aria-current]")).to_have_count(0)
    screen.go_forward()
    expect_sheet(screen, one)
    screen.keyboard.press("Escape")
    expect(screen.locator("#sheet.idle")).to_be_visible()
    expect_same_document(screen)
    assert new_clinic.tell(new_clinic.story().completed()) == 200
    expect_status(screen, new_clinic.patients[0].payments[0], "paid")
    open_row(screen, two)
    end_session(new_clinic, new_clinic.staff[0])
    screen.go_back()
    expect(screen).to_have_url(re.compile("/login/"))


def test_moving_quickly_shows_the_last_row_and_never_an_earlier_ones_late_answer(
    new_clinic: Clinic, new_context: NewContext
) -> None:
    screen = open_live(browser_of(new_clinic.staff[0], new_clinic, new_context, **WIDE), "/desk/")
    one, two, three = references_of(new_clinic)[:3]

    def hold(route: Route) -> None:
        screen.wait_for_timeout(1500)
        route.continue_()

    screen.route(f"**/desk/?*appointment={one}*", hold)
    screen.locator(f"#open-{one}").click(no_wait_after=True)
    screen.locator(f"#open-{two}").click()
    expect_sheet(screen, two)
    screen.wait_for_timeout(2000)
    expect_sheet(screen, two)
    screen.unroute_all()
    screen.locator(f"#open-{two}").focus()
    screen.keyboard.press("j")
    expect(screen.locator(f"#open-{three}")).to_be_focused()
    expect_sheet(screen, three)
    expect(screen.locator(f"#open-{three}")).to_be_focused()
    for _ in range(2):
        screen.keyboard.press("ArrowUp")
    expect_sheet(screen, one)
    expect_same_document(screen)


def test_the_code_in_the_sheet_is_paid_by_phone_and_the_sheet_turns_green(
    clinic: Clinic, patient: Person, payment: Payment, screen: Page, new_context: NewContext
) -> None:
    open_row(screen, patient.references[0])
    expect(screen.locator(".collecting .qr")).to_be_visible()
    screen.get_by_role("link", name="Lien", exact=True).click()
    link = screen.get_by_label("Lien pour payer").input_value()
    expect(screen).to_have_url(re.compile("way=link"))
    screen.context.grant_permissions(["clipboard-read", "clipboard-write"])
    screen.get_by_role("button", name="Copier le lien").click()
    expect(screen.get_by_role("button", name="Copié")).to_be_visible()
    assert screen.evaluate("navigator.clipboard.readText()") == link
    phone = new_context(**PHONE).new_page()
    phone.goto(link)
    pages.start_paying(phone)
    pages.pay_by_card(phone, pages.PAID)
    expect(phone.get_by_text("Voici votre reçu")).to_be_visible()
    expect(screen.locator(".owed.is-paid")).to_contain_text("50,00")
    expect(screen.locator(".collecting")).to_have_count(0)
    expect(screen.get_by_role("link", name="Suivant à payer")).to_be_visible()
    expect(screen.locator("#news")).to_contain_text(re.compile("Patient0.* Canary a payé 50,00"))
    expect_status(screen, payment, "paid")
    screen.locator(".past > summary").click()
    expect(screen.locator(".timeline")).to_contain_text("Payé")
    technical = screen.locator(".past > .technical")
    expect(technical).to_be_hidden()
    screen.get_by_role("switch", name="Détails techniques").check()
    expect(technical).to_be_visible()
    screen.get_by_role("link", name="Suivant à payer").click()
    expect(screen.locator(".collecting .qr")).to_be_visible()
    expect_same_document(screen)


def test_an_arrival_on_one_screen_follows_on_another(
    clinic: Clinic, patient: Person, screen: Page, new_context: NewContext
) -> None:
    other = open_live(browser_of(clinic.staff[0], clinic, new_context, **WIDE), "/desk/")
    open_row(other, patient.references[0])
    row = f"#row-{patient.references[0]}"
    screen.locator(row).get_by_role("button", name="Arrivé").click()
    for page in (screen, other):
        expect(page.locator(f"{row} .arrived")).to_have_text(re.compile(r"\d\d:\d\d"))
    expect(screen.locator(f"{row} .arrived")).to_be_focused()
    expect(other.locator(".person .here")).to_have_text(re.compile(r"Arrivé\s+\d\d:\d\d"))
    expect_table_on_paper(screen, row)
    screen.keyboard.press("Enter")
    expect(other.locator(f"{row} .arrive")).to_be_visible()
    expect_same_document(screen)
    expect_same_document(other)


def test_what_is_being_typed_in_the_sheet_is_never_replaced(
    clinic: Clinic, patient: Person, payment: Payment, screen: Page
) -> None:
    open_row(screen, patient.references[0])
    screen.get_by_role("link", name="Espèces").click()
    amount, given = screen.locator("#take_amount"), screen.get_by_label("Donné par le patient")
    note = screen.locator("#id_text")
    given.fill("100")
    note.fill("Rappeler lun")
    assert clinic.tell(clinic.story().completed(amount=3000)) == 200
    expect_status(screen, payment, "underpaid")
    expect(screen.locator(f"#payment-{payment.public_id}-movements")).to_contain_text("30,00")
    expect(screen.locator(".owed .figure")).to_contain_text("20,00")  # the sums are never in use
    expect(given).to_have_value("100")
    expect(note).to_have_value("Rappeler lun")
    screen.get_by_role("button", name="Enregistrer l’encaissement").click()
    expect(screen.locator("#take_amount_error")).to_contain_text("20,00")  # the form asks for no more than is owed now
    amount.fill("20")
    screen.get_by_role("button", name="Enregistrer l’encaissement").click()
    expect(screen.locator(".owed.is-paid")).to_be_visible()
    expect(screen.get_by_text(re.compile(r"Monnaie à rendre\s: 80,00.€"))).to_be_visible()
    expect(note).to_have_value("Rappeler lun")
    screen.get_by_role("button", name="Enregistrer la note").click()
    expect(screen.locator(".kept")).to_contain_text("Rappeler lun")
    expect(note).to_have_value("")
    expect_same_document(screen)


def test_a_press_is_not_lost_when_the_sheet_is_refreshed_before_the_release(
    clinic: Clinic, patient: Person, payment: Payment, screen: Page
) -> None:
    open_row(screen, patient.references[0])
    screen.get_by_role("link", name="Espèces").hover()
    screen.mouse.down()
    assert clinic.tell(clinic.story().completed(amount=3000)) == 200
    expect(screen.locator(".owed .figure")).to_contain_text("20,00")
    screen.mouse.up()
    expect(screen.locator("#take_amount")).to_be_visible()
    expect(screen.locator("#take_amount")).to_have_value("20,00")
    expect_same_document(screen)


def test_a_form_on_its_way_keeps_its_place_until_the_answer(clinic: Clinic, patient: Person, screen: Page) -> None:
    held: list[Route] = []
    acts = screen.locator(".acts")
    screen.route("**/attendance/", lambda route: held.append(route))
    open_row(screen, patient.references[0])
    acts.locator(".pop-up > summary").click()
    acts.get_by_role("button", name="Absent(e)").click()
    wait_until(lambda: bool(held), "the form is on its way")
    assert clinic.tell(clinic.story().completed(amount=3000)) == 200
    expect(screen.locator(".owed")).to_contain_text("20,00")
    held[0].continue_()
    expect(acts.get_by_role("link", name="Reçu de paiement")).to_be_visible()
    expect(screen.locator(".person")).to_contain_text("Absent(e)")
    expect(screen.locator("#sheet")).to_be_focused()
    expect(screen.locator("#dialog")).to_be_hidden()
    expect_same_document(screen)


def test_a_refund_and_a_cancellation_lie_over_the_counter(
    clinic: Clinic, patient: Person, payment: Payment, screen: Page
) -> None:
    pages.join(clinic, clinic.staff[0], "front desk")
    assert clinic.tell(clinic.story().completed()) == 200
    open_row(screen, patient.references[0])
    dialog = screen.locator("#dialog")
    screen.get_by_role("link", name="Annuler…").click()
    expect(dialog.get_by_label("La clinique garde")).to_be_focused()
    screen.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    screen.get_by_role("link", name="Annuler…").click()
    dialog.get_by_label("La clinique garde").fill("10")
    dialog.get_by_role("button", name="Annuler le rendez-vous").click()
    expect(dialog.get_by_role("textbox", name="Montant")).to_have_value("40,00")
    dialog.get_by_role("button", name="Continuer").click()
    expect(dialog.get_by_role("heading", name="Rembourser 40,00")).to_be_visible()
    dialog.get_by_role("button", name="Modifier").click()
    dialog.get_by_role("textbox", name="Montant").press("Escape")
    expect(dialog).to_be_hidden()
    expect(screen.locator(f"#row-{patient.references[0]} .due")).to_contain_text(re.compile("à rendre 40,00"))
    expect(screen.locator(f"[id='payment-{payment.public_id}']")).to_contain_text("le créneau a été redonné")
    expect(screen.locator(f"#open-{patient.references[0]}")).to_have_css("text-decoration-line", "line-through")
    expect_same_document(screen)


def test_the_counter_works_without_javascript(new_clinic: Clinic, new_context: NewContext) -> None:
    clinic = new_clinic
    one, two = references_of(clinic)[:2]
    page = new_context(base_url=clinic.site.url, java_script_enabled=False, **WIDE).new_page()
    pages.sign_in(page, clinic.staff[0].name, PASSWORD)
    page.locator(f"#row-{one}").get_by_role("button", name="Arrivé").click()
    expect(page).to_have_url(re.compile(f"/desk/#row-{one}$"))
    expect(page.locator(f"#row-{one} .arrived")).to_be_visible()
    page.locator(f"#open-{one}").click()
    page.get_by_role("link", name="Espèces").click()
    page.locator("#take_amount").fill("20")
    page.get_by_role("button", name="Enregistrer l’encaissement").click()
    expect(page.get_by_text(re.compile("Encaissement de 20,00.€ enregistré"))).to_be_visible()
    expect(page.locator(f"#row-{one} .due")).to_contain_text("30,00")
    page.get_by_role("link", name="Annuler…").click()
    page.get_by_role("link", name="Garder le rendez-vous").click()
    page.locator(f"#open-{two}").click()
    expect(page.locator("#sheet")).to_have_attribute("data-reference", two)


def test_on_a_phone_the_list_starts_high_and_an_appointment_is_a_page(
    clinic: Clinic, patient: Person, new_context: NewContext
) -> None:
    page = browser_of(clinic.staff[0], clinic, new_context, **PHONE).new_page()
    go_live(page, "/desk/")
    row = page.locator(".row").first.bounding_box()
    assert row
    assert row["y"] < 844 / 2
    dock = page.get_by_role("navigation", name="En bas")
    for name in ("Journée", re.compile(r"À vérifier"), "Nouveau rendez-vous"):
        expect(dock.get_by_role("link", name=name)).to_be_visible()
    practitioner = page.get_by_label("Praticien")
    expect(practitioner).to_be_hidden()
    page.locator("summary[title='Filtres']").click()
    practitioner.select_option("Dr Anne Mercier")
    page.locator("details.more").get_by_role("button", name="Afficher").click()
    expect(page.locator("summary[title='Filtres']")).to_have_attribute("data-narrowed", "")
    pages.expect_live(page)
    page.locator(f"#open-{patient.references[0]}").click()
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    expect(page.locator(".rows")).to_be_hidden()
    page.get_by_role("link", name="Fermer, revenir à la journée").click()
    expect(page.locator(".rows")).to_be_visible()


def test_below_two_panes_the_appointment_lies_over_the_list(
    clinic: Clinic, patient: Person, new_context: NewContext
) -> None:
    tablet = {"viewport": {"width": 820, "height": 1180}}
    page = open_live(browser_of(clinic.staff[0], clinic, new_context, **tablet), "/desk/")
    open_row(page, patient.references[0])
    expect(page.locator(".rows")).to_be_visible()
    page.locator(".scrim").click(position={"x": 20, "y": 400})
    expect(page.locator("#sheet")).to_be_hidden()
    expect(page.locator(f"#open-{patient.references[0]}")).to_be_focused()
    expect_same_document(page)


SPY = """
window.told = [];
window.Notification = class {
  static permission = "default";
  static requestPermission = async () => (Notification.permission = "granted");
  constructor(text, { tag }) { told.push(text); }
};
const start = OscillatorNode.prototype.start;
OscillatorNode.prototype.start = function (at) { told.push(this.frequency.value); return start.call(this, at); };
"""


def test_news_is_counted_told_and_heard_while_nobody_looks_at_the_tab(
    new_clinic: Clinic, new_context: NewContext
) -> None:
    """News counts in the title and on the icon; who switched them on also gets a notification and two notes."""
    context = browser_of(new_clinic.staff[0], new_clinic, new_context, **WIDE)
    context.add_init_script(SPY)
    screen = open_live(context, "/desk/")
    title = screen.title()
    screen.locator(".wire > .pop-up > summary").last.click()
    screen.get_by_role("switch", name="Jouer un son").check()
    screen.get_by_role("switch", name="bureau").check()
    wait_until(
        lambda: len(screen.evaluate("told")) == 2, "the notes are heard"
    )  # the sound is heard once when it is switched on
    screen.keyboard.press("Escape")
    screen.evaluate("Object.defineProperty(document, 'hidden', { get: () => window.hiddenNow ?? true })")
    for number in (0, 1):
        assert new_clinic.tell(new_clinic.story(payment=number).completed()) == 200
    expect(screen).to_have_title(f"(2) {title}")
    expect(screen.locator("link[rel=icon]")).to_have_attribute("href", re.compile("badge"))
    wait_until(lambda: len(screen.evaluate("told")) >= 7, "two payments are heard and told")
    told = screen.evaluate("told")
    assert told.count(660) == told.count(880) == 3
    assert any(re.search("a payé 50,0[01]", str(words)) for words in told)
    screen.evaluate("window.hiddenNow = false; document.dispatchEvent(new Event('visibilitychange'))")
    expect(screen).to_have_title(title)


def test_a_new_row_is_offered_without_moving_the_list(new_clinic: Clinic, new_context: NewContext) -> None:
    """A row that appears in the chosen tab waits behind a button that moves no other row."""
    clinic = new_clinic
    assert clinic.tell(clinic.story().completed()) == 200
    screen = open_live(browser_of(clinic.staff[0], clinic, new_context, **WIDE), "/desk/?status=paid")
    row = screen.locator(".row").first
    before = row.bounding_box()
    assert clinic.tell(clinic.story(payment=1).completed()) == 200
    button = screen.get_by_role("button", name="1 nouveau")
    expect(button).to_be_visible()
    assert row.bounding_box() == before
    button.click()
    expect(screen.locator(".row")).to_have_count(2)
    expect_same_document(screen)


def test_a_lost_connection_is_told_after_five_seconds(new_clinic: Clinic, new_context: NewContext) -> None:
    clinic = new_clinic
    screen = open_live(browser_of(clinic.staff[0], clinic, new_context, **WIDE), "/desk/")
    screen.evaluate("""() => {
      window.told = [];
      window.lostAt = null;
      const { dataset } = document.documentElement;
      document.addEventListener("live:state", ({ detail }) => {
        lostAt = detail.state === "connected" ? null : lostAt ?? Date.now();
      });
      new MutationObserver(() => dataset.liveSaid !== "connected" && told.push(Date.now() - lostAt))
        .observe(document.documentElement, { attributeFilter: ["data-live-said"] });
    }""")
    screen.evaluate("dispatchEvent(new Event('pagehide'))")
    pages.expect_live(screen, "reconnecting")
    screen.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    pages.expect_live(screen)
    assert screen.evaluate("told") == []
    clinic.site.kill()
    wait_until(lambda: screen.evaluate("told.length > 0"), "a long loss is told")
    assert 4900 < screen.evaluate("told[0]") < 8000
