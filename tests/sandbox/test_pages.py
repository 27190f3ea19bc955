"""Tests of the sandbox's pages over HTTP, without JavaScript: their texts, languages and redirects."""

import re
import urllib.parse
import urllib.request
from http.client import HTTPResponse
from typing import Any

import pytest

from stripe_sandbox.cards import CARDS, IBANS
from stripe_sandbox.control_texts import TEXTS as CONTROL_TEXTS
from stripe_sandbox.money import format_money
from stripe_sandbox.pages import SHOWN_CARDS, SHOWN_IBANS
from stripe_sandbox.texts import TEXTS, pick_language
from tests.sandbox.stripe_account import StripeAccount

CARD = {"email": "camille@example.com", "card_number": "4242 4242 4242 4242", "exp": "12 / 34", "cvc": "123"}
FORM = CARD | {"name": "Camille Martin", "payment_method": "card", "action": "pay"}


class _NoRedirect(urllib.request.HTTPRedirectHandler, urllib.request.HTTPErrorProcessor):
    """A urllib handler that returns every response unchanged: it follows no redirect and raises no HTTPError."""

    def http_response(self, request: urllib.request.Request, response: HTTPResponse) -> Any:
        return response


def ask(url: str, form: dict[str, str] | None = None, language: str = "en", **headers: str) -> tuple[int, str, Any]:
    data = urllib.parse.urlencode(form).encode() if form is not None else None
    request = urllib.request.Request(url, data, {"Accept-Language": language, **headers})
    with urllib.request.build_opener(_NoRedirect).open(request, timeout=60) as answer:
        return answer.status, answer.read().decode(), answer.headers


def test_the_page_shows_what_is_paid_to_whom_and_that_it_is_a_test(account: StripeAccount) -> None:
    status, html, headers = ask(account.session().url, language="fr-FR,fr;q=0.9,en;q=0.8")
    assert status == 200
    assert "60,00\u00a0€" in html
    for words in ("Consultation", "Clinique du Parc", "Mode test", 'lang="fr"', 'href="http://127.0.0.1:1/back"'):
        assert words in html
    assert "script-src 'self'" in headers["Content-Security-Policy"]
    assert re.findall(r"<script(?![^>]* src=)|<style| style=| on[a-z]+=", html) == []


def test_the_sessions_locale_goes_before_the_browsers(account: StripeAccount) -> None:
    assert 'lang="en"' in ask(account.session(locale="en").url, language="fr")[1]
    assert 'lang="fr"' in ask(account.session(locale="auto").url, language="fr")[1]


def test_paying_leads_to_the_success_url(account: StripeAccount) -> None:
    session = account.session()
    status, _, headers = ask(session.url, FORM)
    assert (status, headers["Location"]) == (303, f"http://127.0.0.1:1/done?session={session.id}")
    assert account.v1.checkout.sessions.retrieve(session.id).customer_details.email == "camille@example.com"
    assert ask(session.url, FORM)[0] == 303  # as if the button was pressed twice
    assert len(account.v1.charges.list().data) == 1


def test_a_decline_says_why_and_stays_open_for_another_card(account: StripeAccount) -> None:
    session = account.session(locale="fr")
    status, html, _ = ask(session.url, FORM | {"card_number": "4000000000009995"})
    assert status == 402
    assert "Votre carte n’a pas de provision suffisante" in html
    assert "camille@example.com" in html
    assert ask(session.url, FORM)[0] == 303


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"email": ""}, "Fill in this field"),
        ({"email": "camille"}, "email address is not valid"),
        ({"card_number": "4242 4242 4242 4241"}, "card number is not valid"),
        ({"card_number": "<script>"}, "card number is not valid"),
        ({"exp": "13/34"}, "date is incomplete"),
        ({"exp": "12/20"}, "card has expired"),
        ({"cvc": "1"}, "security code is incomplete"),
        ({"payment_method": "sepa_debit", "iban": "FR00"}, "IBAN is not valid"),
    ],
)
def test_mistakes_are_named_beside_their_field_and_nothing_is_charged(
    account: StripeAccount, wrong: dict[str, str], words: str
) -> None:
    status, html, _ = ask(account.session().url, FORM | wrong)
    assert status == 422
    assert words in html
    assert "<script>" not in html
    assert account.v1.payment_intents.list().data == []


def test_three_d_secure_is_a_page_of_its_own(account: StripeAccount) -> None:
    session = account.session(locale="en")
    status, _, headers = ask(session.url, FORM | {"card_number": "4000002760003184"})
    step = account.url + headers["Location"]
    assert (status, step) == (303, f"{session.url}/authenticate")
    assert "Confirm the payment" in ask(step)[1]
    refused = ask(step, {"action": "fail"})
    assert refused[0] == 402
    assert "did not confirm" in refused[1]
    ask(session.url, FORM | {"card_number": "4000002760003184"})
    assert ask(step, {"action": "complete"})[2]["Location"].startswith("http://127.0.0.1:1/done")


def test_a_bank_debit_is_taken_with_its_iban(account: StripeAccount) -> None:
    session = account.session()
    debit = {"payment_method": "sepa_debit", "iban": "FR30 2004 1010 0505 0001 3M02 609"}  # it takes minutes
    assert ask(session.url, FORM | debit)[0] == 303
    assert account.v1.checkout.sessions.retrieve(session.id).payment_status == "unpaid"


def test_over_is_over(account: StripeAccount) -> None:
    expired, paid = account.session(), account.session()
    account.control("expire", session=expired.id)
    account.control("pay", session=paid.id)
    assert "has expired" in ask(expired.url)[1]
    assert "has expired" in ask(expired.url, FORM)[1]
    assert "is complete" in ask(paid.url)[1]
    assert ask(f"{account.url}/c/pay/cs_test_none")[0] == 404


def test_a_receipt_says_what_was_paid_and_given_back(account: StripeAccount) -> None:
    paid = account.paid()
    account.control("refund", session=paid["session"]["id"], amount=1000)
    charge = account.v1.charges.retrieve(paid["payment_intent"]["latest_charge"])
    status, html, _ = ask(charge.receipt_url, language="fr")
    assert status == 200
    for words in ("Reçu de Clinique du Parc", "•••• 4242", "-10,00\u00a0€", "50,00\u00a0€"):
        assert words in html
    assert ask(f"{account.url}/receipts/ch_none")[0] == 404


def test_the_control_page_does_what_its_buttons_say(account: StripeAccount) -> None:
    account.control("delivery", mode="hold")
    session = account.session().id
    page = f"{account.url}/_sandbox/"
    own = {"Origin": account.url, "Referer": f"{page}?session={session}"}
    status, _, headers = ask(f"{page}pay", {"session": session}, **own)
    assert (status, headers["Location"]) == (303, f"/_sandbox/?session={session}")
    assert account.v1.checkout.sessions.retrieve(session).payment_status == "paid"
    html = ask(page, language="fr")[1]
    for words in ("Rembourser", "Ouvrir un litige", "payé", "retenu", "checkout.session.completed"):
        assert words in html
    asked = account.paid(card="4000002760003184")["session"]["id"]
    assert "Refuser 3-D Secure" in ask(page, language="fr")[1]
    ask(f"{page}authenticate", {"session": asked, "success": "false"}, **own)
    assert "refusé" in ask(page, language="fr")[1]
    ask(f"{page}api", {"mode": "429"}, **own)
    assert 'value="429" checked' in ask(page)[1]


def test_the_control_page_says_what_went_wrong_and_obeys_nobody_elses_forms(account: StripeAccount) -> None:
    page = f"{account.url}/_sandbox/"
    again = ask(f"{page}pay", {"session": account.paid()["session"]["id"]}, Origin=account.url)
    assert "problem=" in again[2]["Location"]
    session = account.session().id
    assert ask(f"{page}pay", {"session": session}, Origin="http://evil.example")[0] == 403
    assert account.v1.checkout.sessions.retrieve(session).status == "open"


@pytest.mark.parametrize(
    ("amount", "currency", "english", "french"),
    [
        (6000, "eur", "€60.00", "60,00\u00a0€"),
        (123_456_789, "eur", "€1,234,567.89", "1\u202f234\u202f567,89\u00a0€"),
        (5000, "jpy", "¥5,000", "5\u202f000\u00a0JPY"),
        (12_340, "kwd", "KWD\u00a012.340", "12,340\u00a0KWD"),
        (500_00, "isk", "ISK\u00a0500", "500\u00a0ISK"),
        (-250, "usd", "-$2.50", "-2,50\u00a0$US"),
    ],
)
def test_amounts_read_as_people_write_them(amount: int, currency: str, english: str, french: str) -> None:
    assert format_money(amount, currency, "en") == english
    assert format_money(amount, currency, "fr") == french


def test_the_numbers_on_the_page_are_stripes_test_numbers() -> None:
    assert set(SHOWN_CARDS) <= {card.number for card in CARDS}
    assert set(SHOWN_IBANS) <= {iban.number for iban in IBANS}
    assert set(SHOWN_CARDS.values()) | set(SHOWN_IBANS.values()) <= set(TEXTS)


def test_both_languages_are_complete() -> None:
    for key, pair in (TEXTS | CONTROL_TEXTS).items():
        assert all(words.strip() for words in pair), key
    assert [pick_language(*given) for given in (("fr-CA", ""), (None, "de, fr;q=0.5"), (None, ""), ("auto", "en"))] == [
        "fr",
        "fr",
        "en",
        "en",
    ]
