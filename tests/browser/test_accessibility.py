"""Tests every page with the accessibility checker axe; the console must show no error.

All pages are checked in French, those that most people see also in English. The texts of both are in the same elements.
"""

import re
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from typing import Literal

import pytest
from django.template.loader import render_to_string
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser import axe, pages
from tests.browser.conftest import NewContext
from tests.browser.pages import browser_of
from tests.clinic import Clinic, Person
from tests.transfers import PAYOUT_ID

Enter = Callable[[Person], BrowserContext]
HEIGHTS = {320: 640, 390: 844, 820: 1180, 1280: 900, 1920: 1080}  # of windows, by their width
LOOKS: dict[str, tuple[tuple[Literal["light", "dark"], int], ...]] = {  # colors and width, by the page's language
    "fr": (("dark", 390), ("light", 1280)),
    "en": (("dark", 820), ("light", 390)),
}
SHIFTS = """() => {
  window.shifts = [];
  const note = (list) => list.getEntries().forEach((shift) => window.shifts.push(
    ...shift.sources.map(({ node }) => `${shift.value.toFixed(4)} ${node?.id || node?.className || node?.nodeName}`)));
  const observer = new PerformanceObserver(note);
  observer.observe({ type: "layout-shift", buffered: false });
  window.shiftsAfter = async (count) => {
    for (let frame = 0; frame < count; frame += 1) await new Promise(requestAnimationFrame);
    note({ getEntries: () => observer.takeRecords() });
    return window.shifts;
  };
}"""


@pytest.fixture
def complaints() -> Iterator[list[str]]:
    """Return the list in which `enter` collects the browser console's errors, such as failed requests.

    The test fails if the list isn't empty at its end.
    """
    said: list[str] = []
    yield said
    assert said == []


@pytest.fixture
def enter(clinic: Clinic, new_context: NewContext, complaints: list[str]) -> Enter:
    def enter(person: Person) -> BrowserContext:
        context = browser_of(person, clinic, new_context)
        context.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
        return context

    return enter


def check(page: Page) -> None:
    """Check that axe finds no fault with the looks of the page's language, in dark and in light colors.

    The contrast of colors is checked in French alone, because no color depends on the language. Check too that the
    page doesn't scroll sideways in any of the widths: phones, a tablet and desktops.
    """
    language = str(page.locator("html").get_attribute("lang"))
    for scheme, width in LOOKS[language]:
        page.emulate_media(color_scheme=scheme)
        page.set_viewport_size({"width": width, "height": HEIGHTS[width]})
        page.evaluate("document.getAnimations().forEach(a => a.effect.getTiming().iterations === 1 && a.finish())")
        found = axe.violations(page, contrast=language == "fr")
        assert not found, f"{page.url} {scheme}\n{found}"
    for width, height in HEIGHTS.items():
        page.set_viewport_size({"width": width, "height": height})
        needed = page.evaluate("document.documentElement.scrollWidth")
        assert needed <= width, f"{page.url} is {needed} px wide on {width} px"


def check_each(page: Page, *paths: str, languages: Sequence[str] = ("fr",)) -> None:
    """Check these pages in each of the languages; the last page stays open in the last language."""
    domain = page.context.cookies()[0]["domain"]
    for path in paths:
        for language in languages:
            page.context.add_cookies([{"name": "django_language", "value": language, "domain": domain, "path": "/"}])
            pages.go_live(page, path)
            check(page)


def check_refused(page: Page, path: str, status: int, complaints: list[str]) -> None:
    """Check that `path` answers with `status` and an accessible page; ignore console errors that name this status."""
    answer = page.goto(path)
    assert answer is not None
    assert answer.status == status
    check(page)
    assert [said for said in complaints if str(status) not in said] == []
    complaints.clear()


def tell_of_every_kind(clinic: Clinic) -> None:
    """Post events after which the patients' payments are in many states.

    One patient has a partly refunded and a declined payment; the other has one paid twice and one disputed.
    """
    paid, declined = clinic.story(payment=0), clinic.story(payment=1)
    twice, disputed = clinic.story(1, 0), clinic.story(1, 1)
    for event in (
        *(paid.completed(), paid.succeeded(), paid.charge_refunded(1000), declined.failed()),
        *(twice.completed("A"), twice.completed("B"), disputed.completed(), disputed.dispute("needs_response")),
    ):
        assert clinic.tell(event) == 200


def expire_links(clinic: Clinic) -> None:
    """Make all pay links of the site expire."""
    with sqlite3.connect(clinic.site.database_file, timeout=10) as database:
        database.execute("UPDATE clinic_payments_paylink SET expires_at = '2020-01-01'")


def check_a_toast(page: Page, clinic: Clinic) -> None:
    assert clinic.tell(clinic.story(payment=2).completed()) == 200
    expect(pages.toasts(page)).to_be_visible()
    check(page)


def test_what_patients_and_visitors_see(clinic: Clinic, enter: Enter, complaints: list[str]) -> None:
    tell_of_every_kind(clinic)
    patient = clinic.patients[0]
    page = enter(patient).new_page()
    paid, declined, unpaid = (f"/appointments/{reference}/" for reference in patient.references)
    receipt = f"/payments/{patient.payments[0].public_id}/receipt/"
    check_each(page, "/appointments/", paid, declined, receipt, "/components/", unpaid, languages=("en", "fr"))
    check_a_toast(page, clinic)
    check_refused(page, "/desk/", 403, complaints)
    check_refused(page, "/nowhere/", 404, complaints)

    page.context.clear_cookies()
    page.goto("/password/reset/")
    check(page)
    page.goto("/login/")
    check(page)
    pages.sign_in(page, patient.name, "wrong")
    expect(page.get_by_role("alert")).to_be_visible()
    check(page)


@pytest.fixture
def desk(clinic: Clinic, enter: Enter) -> Page:
    """Return a manager's page, after events of every kind."""
    pages.join(clinic, clinic.staff[0], "manager")
    tell_of_every_kind(clinic)
    return enter(clinic.staff[0]).new_page()


def test_the_front_desk_s_lists(clinic: Clinic, desk: Page) -> None:
    cash = f"/desk/?appointment={clinic.patients[0].references[2]}&way=cash"
    check_each(desk, "/desk/why/", "/desk/?q=nobody", "/review/", "/desk/?view=agenda", cash)
    check_each(desk, "/desk/", languages=("en", "fr"))


def test_the_front_desk_s_appointments(clinic: Clinic, desk: Page) -> None:
    paid, _declined, unpaid = (f"/desk/{reference}/" for reference in clinic.patients[0].references)
    twice = f"/desk/{clinic.patients[1].references[0]}/"
    check_each(desk, paid, twice, f"{paid}cancel/", f"{paid}why/", f"{unpaid}take/", f"{unpaid}change/")


def test_the_front_desk_s_patients_and_bookings(desk: Page, complaints: list[str]) -> None:
    check_each(desk, "/desk/patients/?q=nobody", "/desk/patients/?q=canary")
    desk.locator(".matches a").first.click()
    check(desk)
    desk.get_by_role("link", name="Modifier", exact=True).click()
    check(desk)
    desk.goto("/desk/book/")
    desk.get_by_role("button", name="Nouveau patient").click()
    desk.get_by_role("button", name=re.compile("^Réserver")).click()
    check(desk)
    assert [said for said in complaints if "422" not in said] == []  # the form is shown again with its errors
    complaints.clear()


def test_stripes_transfers_and_figures(clinic: Clinic, desk: Page) -> None:
    clinic.site.manage("shell", "--no-imports", "--command", "from tests import transfers; transfers.make()")
    check_each(desk, "/desk/transfers/", f"/desk/transfers/{PAYOUT_ID}/", "/desk/transfers/?last=2001-01-01")
    desk.goto(f"/desk/{clinic.patients[0].references[0]}/")
    desk.locator("details.past > summary").click()
    desk.get_by_text("Frais et versements de Stripe").click()
    check(desk)
    check_each(desk, "/desk/operations/")
    for summary in desk.get_by_text("Chiffres en tableau").all():
        summary.click()
    check(desk)


def test_what_the_front_desk_decides_and_corrects(clinic: Clinic, desk: Page) -> None:
    paid, declined, _unpaid = (f"/desk/{reference}/" for reference in clinic.patients[0].references)
    check_each(desk, f"{paid}decide/ask-again/", f"{paid}decide/stop-asking/", f"{paid}refund/")
    desk.get_by_role("button", name="Continuer").click()
    expect(desk.get_by_role("button", name="Rembourser")).to_be_visible()
    check(desk)
    desk.goto(f"{declined}take/")
    desk.get_by_role("button", name="Enregistrer l’encaissement").click()
    desk.get_by_role("link", name="Saisi par erreur").click()
    expect(desk.get_by_role("button", name="C’était une erreur")).to_be_visible()
    check(desk)


def test_what_pay_links_lead_to(clinic: Clinic, enter: Enter, complaints: list[str]) -> None:
    page = enter(clinic.staff[0]).new_page()
    unpaid = f"/desk/{clinic.patients[0].references[0]}/"
    one = f"/desk/links/?reference={clinic.patients[0].references[0]}"
    check_each(page, one, "/desk/links/?period=all", f"{unpaid}collect/")
    link = str(page.get_by_role("link", name="Ouvrir le lien").get_attribute("href"))
    check_each(page, f"{unpaid}?way=link")
    page.context.clear_cookies()
    page.goto(link)
    check(page)
    expire_links(clinic)
    check_refused(page, link, 410, complaints)
    assert clinic.tell(clinic.story().completed()) == 200
    page.goto(link)
    expect(page.get_by_role("heading", name="Reçu de paiement")).to_be_visible()
    check(page)


def broken(url: str) -> str:
    """Return the HTML of the error page named at the end of `url`, such as 500.html. No request here leads to it."""
    return render_to_string(url.rpartition("/")[2])


def test_pages_for_when_the_site_itself_fails(clinic: Clinic, new_context: NewContext) -> None:
    page = new_context(base_url=clinic.site.url).new_page()
    page.route(
        re.compile("/broken/"), lambda route: route.fulfill(body=broken(route.request.url), content_type="text/html")
    )
    for name in ("400", "500"):
        page.goto(f"/broken/{name}.html")
        check(page)
    page.goto("/login/")
    page.locator("[name=csrfmiddlewaretoken]").evaluate_all("found => found.forEach(each => each.remove())")
    page.get_by_role("button", name="English").click()
    expect(page.get_by_text("ouverte depuis trop longtemps")).to_be_visible()
    check(page)


def test_nothing_moves_when_a_payment_does(clinic: Clinic, enter: Enter) -> None:
    """A change of a payment causes no layout shift (https://web.dev/articles/cls) on the pages that show it."""
    patient, story = clinic.patients[0], clinic.story()
    desk, mine = enter(clinic.staff[0]).new_page(), enter(patient).new_page()
    pages.go_live(desk, "/desk/")
    pages.go_live(mine, f"/appointments/{patient.references[0]}/")
    for page in (desk, mine):
        page.evaluate(SHIFTS)
    for event in (story.completed(), story.succeeded(), story.charge_refunded(1000)):
        assert clinic.tell(event) == 200
    for page in (desk, mine):
        pages.expect_status(page, patient.payments[0], "partially_refunded")
        assert page.evaluate("shiftsAfter(3)") == [], page.url  # shifts are reported one frame later


def test_stripes_page(clinic: Clinic, enter: Enter, complaints: list[str]) -> None:
    patient = clinic.patients[0]
    page = enter(patient).new_page()
    page.goto(f"/appointments/{patient.references[0]}/")
    pages.start_paying(page)
    page.get_by_text("Numéros de test").click()
    check(page)
    pages.pay_by_card(page, pages.DECLINED)
    expect(page.get_by_role("alert")).to_be_visible()
    check(page)
    assert [said for said in complaints if "402" not in said] == []  # the answer of the declined payment
    complaints.clear()
