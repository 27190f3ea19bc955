"""Every page, light on a desk, dark on a phone: axe finds no barrier, and the console tells no error."""

from collections.abc import Callable, Iterator
from typing import Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import BrowserContext, Page, ViewportSize, expect

from tests.browser import pages
from tests.browser.conftest import NewContext
from tests.browser.pages import browser_of
from tests.clinic import Clinic, Person

Enter = Callable[[Person], BrowserContext]
LOOKS: tuple[tuple[Literal["light", "dark"], ViewportSize], ...] = (
    ("dark", {"width": 390, "height": 844}),
    ("light", {"width": 1280, "height": 900}),
)


@pytest.fixture
def complaints() -> Iterator[list[str]]:
    """What browser consoles call an error, failed requests and refused styles among it; none may be left."""
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
    """axe finds nothing, and nothing sticks out sideways."""
    for scheme, size in LOOKS:
        page.emulate_media(color_scheme=scheme)
        page.set_viewport_size(size)
        page.evaluate("document.getAnimations().forEach(a => a.effect.getTiming().iterations === 1 && a.finish())")
        found = Axe().run(page)
        assert not found.violations_count, f"{page.url} {scheme}\n{found.generate_report()}"
        assert page.evaluate("document.documentElement.scrollWidth") <= size["width"], f"{page.url} is too wide"


def tell_of_every_kind(clinic: Clinic) -> None:
    """One payment partly refunded, one declined, one untouched."""
    paid, declined = clinic.story(payment=0), clinic.story(payment=1)
    for event in (paid.completed(), paid.succeeded(), paid.charge_refunded(1000), declined.failed()):
        assert clinic.tell(event) == 200


def test_sign_in(clinic: Clinic, enter: Enter) -> None:
    page = enter(clinic.patients[0]).new_page()
    page.context.clear_cookies()
    page.goto("/login/")
    check(page)
    pages.sign_in(page, "patient0", "wrong")
    expect(page.get_by_role("alert")).to_be_visible()
    check(page)


def check_a_toast(page: Page, clinic: Clinic) -> None:
    assert clinic.tell(clinic.story(payment=2).completed()) == 200
    expect(pages.toasts(page)).to_be_visible()
    check(page)


def test_what_a_patient_sees(clinic: Clinic, enter: Enter) -> None:
    tell_of_every_kind(clinic)
    patient = clinic.patients[0]
    page = enter(patient).new_page()
    paid, _, unpaid = (f"/appointments/{reference}/" for reference in patient.references)
    for path in ("/appointments/", paid, f"/payments/{patient.payments[0].public_id}/receipt/", unpaid):
        pages.go_live(page, path)
        check(page)
    check_a_toast(page, clinic)


def test_what_the_front_desk_sees(clinic: Clinic, enter: Enter) -> None:
    tell_of_every_kind(clinic)
    page = enter(clinic.staff[0]).new_page()
    paid, _, unpaid = clinic.patients[0].references
    for path in (f"/desk/{paid}/", f"/desk/{unpaid}/take/", "/desk/?q=nobody", "/review/", "/desk/"):
        pages.go_live(page, path)
        check(page)
    check_a_toast(page, clinic)


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
    assert [said for said in complaints if "402" not in said] == []  # the declined answer itself
    complaints.clear()
