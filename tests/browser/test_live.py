"""Tests that open pages show changes without a reload, even after faults."""

import re

from playwright.sync_api import expect

from payments.models import Payment
from tests.browser.conftest import NewContext
from tests.browser.pages import (
    browser_of,
    expect_live,
    expect_same_document,
    expect_status,
    go_live,
    news,
    open_live,
    prove_current,
    toasts,
)
from tests.clinic import Clinic, Person
from tests.waits import wait_until

LIT = "rgb(223, 242, 230)"  # --clinic-good-wash
WATCH_ROWS = """() => {
  window.lit = [];  // noted at once, because the light goes out again
  new MutationObserver((changes) => changes.forEach(({ target }) =>
    target.matches(".row.just-changed") && lit.push([
      getComputedStyle(target, "::before").backgroundColor, target.getBoundingClientRect().x,
    ])
  )).observe(document, { subtree: true, attributeFilter: ["class"] });
}"""


# Gives the page `count` copies of the newest entry of its feed, each as another change, a second after the one before.
REPEAT_ENTRY = """async (count) => {
  const { applyEntries } = await import("/static/payments/js/live-entries.js");
  const source = document.querySelector("live-source");
  const answer = await fetch(`/payments/live/?epoch=${source.epoch}&after=${source.cursor - 1}`);
  const newest = await answer.text();
  const copies = Array.from({ length: count }, (_, n) => newest
    .replace(/data-seq="(\\d+)"/, (_, seq) => `data-seq="${Number(seq) + n + 1}"`)
    .replace(/id="toast-[^"]+/, (id) => `${id}-copy-${n}`)
    .replace(/data-at="(\\d+)/, (_, at) => `data-at="${Number(at) + n + 1}`));
  applyEntries(source, copies.join(""));
  await new Promise((done) => setTimeout(done)); // toasts come in tasks of their own
}"""
HIDE = """Object.defineProperty(document, "hidden", { get: () => window.hiddenNow ?? true });"""
COME_BACK = """window.hiddenNow = false; document.dispatchEvent(new Event("visibilitychange"));"""


def test_both_screens_turn_paid_with_a_toast_or_news(
    clinic: Clinic, patient: Person, payment: Payment, new_context: NewContext
) -> None:
    mine = open_live(browser_of(patient, clinic, new_context), f"/appointments/{patient.references[0]}/")
    desk = open_live(browser_of(clinic.staff[0], clinic, new_context), "/desk/")
    story = clinic.story()
    for event in (story.completed(), story.succeeded()):
        assert clinic.tell(event) == 200
    for page in (mine, desk):
        expect_status(page, payment, "paid")
        expect_same_document(page)
    expect(toasts(mine)).to_have_count(1)
    expect(news(desk)).to_contain_text("a payé 50,00")
    expect(mine.locator(".timeline li[data-status=paid]")).to_have_count(1)
    toasts(mine).get_by_role("button").press("Enter")
    expect(toasts(mine)).to_have_count(0)


def test_a_toast_covers_nothing_of_what_it_announces_and_gives_the_focus_back(
    clinic: Clinic, patient: Person, payment: Payment, new_context: NewContext
) -> None:
    page = open_live(browser_of(patient, clinic, new_context), f"/appointments/{patient.references[0]}/")
    page.set_viewport_size({"width": 900, "height": 420})  # so low that the payment reaches the foot of the window
    link = page.get_by_role("link", name="Mes rendez-vous").first
    link.focus()
    clinic.tell(clinic.story().completed())
    expect(toasts(page)).to_have_count(1)
    told = page.locator(f"#payment-{payment.public_id}").bounding_box()
    toast = toasts(page).bounding_box()
    assert told is not None
    assert toast is not None
    assert (
        toast["y"] >= told["y"] + told["height"]
        or toast["y"] + toast["height"] <= told["y"]
        or (toast["x"] >= told["x"] + told["width"])
    )
    toasts(page).get_by_role("button").focus()
    page.keyboard.press("Enter")
    expect(toasts(page)).to_have_count(0)
    expect(link).to_be_focused()


def test_two_tabs_of_one_person_show_one_toast(
    clinic: Clinic, patient: Person, payment: Payment, new_context: NewContext
) -> None:
    context = browser_of(patient, clinic, new_context)
    tabs = [open_live(context, "/appointments/") for _ in range(2)]
    assert clinic.tell(clinic.story().completed()) == 200
    for tab in tabs:
        expect_status(tab, payment, "paid")
        expect(tab.locator("payment-toast:not([shown])")).to_have_count(0)  # each tab has shown or dropped its toast
    assert sum(toasts(tab).count() for tab in tabs) == 1


def test_more_changes_than_a_browser_remembers_are_shown_once(
    clinic: Clinic, patient: Person, payment: Payment, new_context: NewContext
) -> None:
    """A window that missed 101 changes keeps the toasts of the newest alone, and shows none that another has shown."""
    assert clinic.tell(clinic.story().completed()) == 200
    context = browser_of(patient, clinic, new_context)
    visible, late = (open_live(context, "/appointments/") for _ in range(2))
    context.add_init_script(HIDE)
    hidden = open_live(context, "/appointments/")
    for page in (visible, hidden):
        page.evaluate(REPEAT_ENTRY, 101)
    expect(hidden.locator("payment-toast")).to_have_count(4)
    expect(visible.locator("payment-toast:not([shown])")).to_have_count(0)
    expect(toasts(visible)).to_have_count(4)
    hidden.evaluate(COME_BACK)
    late.evaluate(REPEAT_ENTRY, 101)
    for page in (hidden, late):
        expect(page.locator("payment-toast")).to_have_count(0)


def test_the_focus_stays_in_a_panel_that_is_replaced(
    clinic: Clinic, patient: Person, payment: Payment, new_context: NewContext
) -> None:
    """The focus stays on the same control, and goes to the panel if the control is gone."""
    desk = open_live(browser_of(clinic.staff[0], clinic, new_context), f"/desk/{patient.references[1]}/")
    mine = open_live(browser_of(patient, clinic, new_context), f"/appointments/{patient.references[0]}/")
    kept = desk.locator("#way-cash")
    kept.focus()
    mine.locator(".payment-panel button[form^=pay-]").focus()
    day = open_live(browser_of(clinic.staff[0], clinic, new_context), "/desk/")
    tab = day.locator("[data-tab=paid]")
    paid = int(tab.locator(".count").inner_text())
    tab.focus()
    assert clinic.tell(clinic.story(payment=1).completed(amount=3000)) == 200
    assert clinic.tell(clinic.story().completed()) == 200
    for page in (desk, mine):
        expect_status(page, payment, "paid")
    expect(desk.locator(".figure")).to_contain_text("20,01")
    expect(kept).to_be_focused()
    expect(mine.locator(".payment-panel")).to_be_focused()
    expect(tab.locator(".count")).to_have_text(str(paid + 1))
    expect(tab).to_be_focused()


def test_a_killed_server_is_caught_up_with(new_clinic: Clinic, new_context: NewContext) -> None:
    clinic, patient = new_clinic, new_clinic.patients[0]
    page = open_live(browser_of(patient, clinic, new_context), f"/appointments/{patient.references[0]}/")
    clinic.site.kill()
    expect_live(page, "reconnecting")
    clinic.site.server.start()
    assert clinic.tell(clinic.story().completed()) == 200
    expect_status(page, patient.payments[0], "paid")
    expect_live(page)
    expect(toasts(page)).to_have_count(1)
    expect_same_document(page)
    assert re.search(r"live_reconnect attempt=\d+ why=closed code=1006", clinic.site.server.log())


def test_a_page_that_cannot_be_read_anew_stays(
    clinic: Clinic, patient: Person, payment: Payment, new_context: NewContext
) -> None:
    """A page that has to reload itself stays as it is while the server answers with an error.

    It has to reload because its cursor (the number of the last change that it received) is unknown to the server.
    """
    page = open_live(browser_of(patient, clinic, new_context), "/appointments/")
    page.route("**/appointments/", lambda route: route.fulfill(status=503, body="Down"))
    page.locator("#live-cursor").evaluate("(field) => (field.value = 999999)")
    assert clinic.tell(clinic.story().completed()) == 200
    with page.expect_response("**/appointments/"):
        page.get_by_role("link", name="Actualiser").click()
    page.unroute("**/appointments/")
    page.get_by_role("link", name="Actualiser").click()
    expect_status(page, payment, "paid")
    expect_same_document(page)


def test_signing_out_elsewhere_is_said(clinic: Clinic, patient: Person, new_context: NewContext) -> None:
    context = browser_of(patient, clinic, new_context)
    page, other = open_live(context, "/appointments/"), open_live(context, "/appointments/")
    other.locator("form[action*=logout] button").click()
    expect_live(page, "signed-out")
    expect(page.locator("[data-when=signed-out]")).to_be_visible()


def test_a_row_lights_up_where_it_is_and_a_missing_one_waits_to_be_asked_for(
    new_clinic: Clinic, new_context: NewContext
) -> None:
    clinic, patient = new_clinic, new_clinic.patients[0]
    page = open_live(browser_of(clinic.staff[0], clinic, new_context), "/desk/")
    search = page.locator("input[type=search]")
    search.fill("half a na")
    search.focus()
    page.evaluate(WATCH_ROWS)
    left = page.evaluate("document.querySelector('.row').getBoundingClientRect().x")
    assert clinic.tell(clinic.story().completed()) == 200
    wait_until(lambda: page.evaluate("lit") == [[LIT, left]], "the row lights up in its place")
    expect(search).to_be_focused()
    expect(search).to_have_value("half a na")
    go_live(page, "/desk/?status=paid")
    expect(page.locator(".row")).to_have_count(1)
    for number in (1, 2):
        assert clinic.tell(clinic.story(payment=number).completed()) == 200
    button = page.locator("[data-new]")
    expect(button).to_have_text(re.compile("2"))
    expect(page.locator(".row")).to_have_count(1)
    button.click()
    expect(page.locator(".row")).to_have_count(3)
    expect_status(page, patient.payments[2], "paid")
    assert clinic.tell(clinic.story(patient=1).completed()) == 200
    expect(page.locator("[data-new]")).to_have_text(re.compile("1"))


def test_the_refresh_button_asks_at_once(clinic: Clinic, patient: Person, new_context: NewContext) -> None:
    page = open_live(browser_of(patient, clinic, new_context), "/appointments/")
    prove_current(page)
    expect_same_document(page)
    expect(page.locator("[data-age]")).to_be_visible()


def test_the_front_desk_learns_that_the_patient_saw_it(
    clinic: Clinic, patient: Person, payment: Payment, new_context: NewContext
) -> None:
    mine = open_live(browser_of(patient, clinic, new_context), f"/appointments/{patient.references[0]}/")
    assert clinic.tell(clinic.story().completed()) == 200
    expect_status(mine, payment, "paid")
    clerk, page = clinic.staff[0], f"/desk/{patient.references[0]}/"
    looked = re.compile(r'<li[^>]*data-status="paid"((?!</li>).)*<strong>[^<]*<time', re.DOTALL)
    wait_until(lambda: looked.search(clinic.get(page, clerk).read().decode()), "the patient's look is noted")
    desk = open_live(browser_of(clerk, clinic, new_context), page)
    expect(desk.locator(".trace strong time").last).to_have_text(re.compile(r"\d\d:\d\d:\d\d"))
