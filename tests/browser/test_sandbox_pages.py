"""Tests in Chromium that the Stripe sandbox's pages work with JavaScript, are accessible and fit a phone's width."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser import axe
from tests.browser.conftest import NewContext
from tests.sandbox.stripe_account import Receiver, StripeAccount, running

LOOKS = [("light", 1280), ("dark", 1280), ("light", 375), ("dark", 375)]


@pytest.fixture(scope="module")
def account() -> Iterator[StripeAccount]:
    with running("--business-name", "Clinique du Parc") as url:
        yield StripeAccount(url, Receiver())


def fill(page: Page, number: str) -> None:
    page.fill("[name=email]", "camille@example.com")
    page.locator("[name=card_number]").press_sequentially(number)
    page.locator("[name=exp]").press_sequentially("1234")
    page.fill("[name=cvc]", "123")
    page.fill("[name=name]", "Camille Martin")


def test_typing_is_grouped_and_a_double_click_pays_once(account: StripeAccount, new_context: NewContext) -> None:
    session = account.session(success_url=f"{account.url}/_sandbox/", locale="fr")
    page = new_context().new_page()
    page.goto(session.url)
    fill(page, "4242424242424242")
    assert page.input_value("[name=card_number]") == "4242 4242 4242 4242"
    assert page.input_value("[name=exp]") == "12 / 34"
    page.locator("button[value=pay]").dblclick()
    expect(page).to_have_url(f"{account.url}/_sandbox/")
    charges = account.v1.charges.list(
        {"payment_intent": account.get(f"checkout/sessions/{session.id}")["payment_intent"]}
    )
    assert [charge.status for charge in charges.data] == ["succeeded"]


def test_a_test_number_is_one_click_away(account: StripeAccount, new_context: NewContext) -> None:
    page = new_context().new_page()
    page.goto(account.session(locale="fr").url)
    page.get_by_text("Prélèvement SEPA").click()
    expect(page.locator("[name=card_number]")).to_be_hidden()
    page.get_by_text("Numéros de test").click()
    page.get_by_text("FR14 2004").click()
    expect(page.locator("[name=iban]")).to_have_value("FR14 2004 1010 0505 0001 3M02 606")


def test_the_control_page_shows_what_happens_while_it_happens(account: StripeAccount, new_context: NewContext) -> None:
    session = account.session()
    page = new_context().new_page()
    page.goto(f"{account.url}/_sandbox/?session={session.id}")
    payments = page.locator("#payments")
    payments.get_by_role("button", name="Payer", exact=True).click()
    expect(payments).to_contain_text("payé")
    account.control("refund", session=session.id)
    expect(payments).to_contain_text(re.compile("Remboursement .* réussi"))


def pages_of(account: StripeAccount) -> dict[str, str]:
    asked = account.paid(card="4000002760003184")["session"]
    paid = account.paid()
    account.control("dispute", session=paid["session"]["id"])
    charge = account.get(f"charges/{paid['payment_intent']['latest_charge']}")
    return {
        "pay": account.session().url,
        "secure": f"{account.url}/c/pay/{asked['id']}/authenticate",
        "over": f"{account.url}/c/pay/{paid['session']['id']}",
        "receipt": charge["receipt_url"],
        "control": f"{account.url}/_sandbox/",
    }


@pytest.mark.parametrize(
    ("scheme", "width"), [LOOKS[0], *(pytest.param(*look, marks=pytest.mark.nightly) for look in LOOKS[1:])]
)
def test_every_page_is_accessible_and_fits(
    account: StripeAccount, new_context: NewContext, scheme: Any, width: int
) -> None:
    page = new_context(color_scheme=scheme, viewport={"width": width, "height": 800}).new_page()
    for name, url in pages_of(account).items():
        page.goto(url)
        if name == "pay":
            page.locator("summary").click()
            page.locator("button[value=pay]").click()
            expect(page.locator(".error").first).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= width, name
        assert axe.violations(page) == "", name
