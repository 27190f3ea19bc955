"""The truth table of kept cards and of the fees charged to them: each row's facts give one result in any order."""

import itertools
import random
from dataclasses import replace
from typing import Any

import pytest

from payments.domain.cards import CardState, card_of
from payments.domain.facts import Kind, StripeFact
from payments.domain.movements import movements
from payments.domain.precedence import merge
from payments.domain.status import PaymentStatus as S
from payments.domain.status import Review, Standing, Terms, derive

DUE, FEE = 5000, 3000
NO_SHOW = Terms(DUE, "eur", no_show=True, no_show_fee=FEE)
BOOKED = replace(NO_SHOW, no_show=False)
CANCELED = Terms(DUE, "eur", canceled=True, fee=4000, no_show_fee=FEE)
PENDING: dict[str, Any] = {"card": "pm_A", "customer": "cus_1"}


def fact(kind: Kind, stripe_id: str, status: str, at: int, attempt: str = "A", **more: Any) -> StripeFact:
    more = {"currency": "eur"} | more
    return StripeFact(kind=kind, stripe_id=stripe_id, status=status, as_of=at, created=at, attempt=attempt, **more)


def consent(attempt: str = "A", amount: int = FEE, at: int = 10, **more: Any) -> StripeFact:
    details = {"text": f"At most {amount}.", "version": "1", "language": "en"}
    return fact(Kind.CONSENT, f"consent_{attempt}", "agreed", at, attempt, amount=amount, details=details, **more)


def setup(status: str, attempt: str = "A", at: int = 20) -> StripeFact:
    return fact(Kind.SETUP, f"seti_{attempt}", status, at, attempt)


def card(status: str = "kept", attempt: str = "A", at: int = 20, **details: str) -> StripeFact:
    return fact(Kind.CARD, f"pm_{attempt}", status, at, attempt, details={"customer": "cus_1"} | details)


def request(status: str = "processing", at: int = 30, amount: int = FEE, **details: str) -> StripeFact:
    return fact(Kind.INTENT, "request_1", status, at, "fee-1", amount=amount, details=PENDING | details)


def intent(status: str, at: int = 31, amount: int = FEE, **details: str) -> StripeFact:
    details = {"request": "request_1"} | details
    more = {"amount": amount, "payment_intent_id": "pi_1", "details": details}
    return fact(Kind.INTENT, "pi_1", status, at, "fee-1", **more)


def refund(amount: int = 1000, at: int = 40) -> StripeFact:
    return fact(Kind.REFUND, "re_1", "succeeded", at, "", amount=amount, payment_intent_id="pi_1")


KEPT = [consent(), setup("succeeded"), card()]


def row(title: str, facts: list[StripeFact], terms: Terms, **expected: Any) -> Any:
    return pytest.param(facts, terms, expected, id=title)


ROWS = [
    row("a page is open", [consent()], BOOKED, card="", card_limit=0, status=S.UNPAID, owed=DUE),
    row("a card is kept", KEPT, BOOKED, card="kept", card_limit=FEE, status=S.UNPAID, owed=DUE),
    row("a card was declined", [consent(), setup("failed")], BOOKED, card="failed", card_limit=0, owed=DUE),
    row("declined, then kept", [*KEPT, setup("failed", at=15)], BOOKED, card="kept", card_limit=FEE),
    row("kept, then another one declined", [*KEPT, setup("failed", "B", 30)], BOOKED, card="kept", card_limit=FEE),
    row("the page expired", [consent(), setup("canceled")], BOOKED, card="", card_limit=0),
    row("kept without a record of consent", [setup("succeeded"), card()], NO_SHOW, card="kept", card_limit=0, owed=DUE),
    row("agreed in another currency", [consent(currency="chf"), card()], NO_SHOW, card_limit=0, owed=DUE),
    row("removed", [*KEPT, card("removed", at=25)], BOOKED, card="removed", card_limit=0),
    row("removed, told late", [card("removed", at=25), *KEPT], BOOKED, card="removed", card_limit=0),
    row(
        "removed, then another one with another consent",
        [*KEPT, card("removed", at=25), consent("B", 2000, 26), setup("succeeded", "B", 27), card("kept", "B", 27)],
        BOOKED,
        card="kept",
        card_limit=2000,
    ),
    row("no-show", KEPT, NO_SHOW, due=FEE, owed=FEE, payable=True, status=S.UNPAID, reviews=()),
    row("no-show without a card", [consent()], NO_SHOW, due=DUE, owed=DUE),
    row("no-show, card removed before", [*KEPT, card("removed", at=25)], NO_SHOW, owed=FEE, card_limit=0),
    row("no-show, fee raised since", KEPT, replace(NO_SHOW, no_show_fee=9000), owed=FEE),
    row("no-show, fee lowered since", KEPT, replace(NO_SHOW, no_show_fee=1000), owed=1000),
    row("no-show, no fee asked any more", KEPT, replace(NO_SHOW, no_show_fee=0), owed=DUE),
    row(
        "a charge without an answer",
        [*KEPT, request()],
        NO_SHOW,
        status=S.PROCESSING,
        owed=0,
        on_its_way=FEE,
        attempt="charging",
        payable=False,
        card_limit=0,
    ),
    row("charged", [*KEPT, request(), intent("succeeded")], NO_SHOW, status=S.PAID, owed=0, received=FEE, reviews=()),
    row(
        "declined",
        [*KEPT, request("failed", 32, failure_code="card_declined"), intent("canceled")],
        NO_SHOW,
        status=S.FAILED,
        owed=FEE,
        payable=True,
        attempt="fee_declined",
        failure_code="card_declined",
        card_limit=FEE,
    ),
    row(
        "declined, not canceled yet",
        [*KEPT, request(), intent("failed", failure_code="authentication_required")],
        NO_SHOW,
        status=S.FAILED,
        failure_code="authentication_required",
        owed=FEE,
    ),
    row(
        "declined, and noted late",
        [*KEPT, request(at=33), intent("failed")],
        NO_SHOW,
        status=S.FAILED,
        failure_code="",
        on_its_way=0,
    ),
    row(
        "withdrawn, but Stripe had made it", [*KEPT, request("failed", 99), intent("succeeded")], NO_SHOW, received=FEE
    ),
    row(
        "charged, partly given back",
        [*KEPT, request(), intent("succeeded"), refund()],
        NO_SHOW,
        status=S.PARTIALLY_REFUNDED,
        owed=0,
        card_limit=0,
    ),
    row(
        "canceled, with a fee above what was agreed",
        [*KEPT, request(), intent("succeeded")],
        CANCELED,
        status=S.UNDERPAID,
        owed=1000,
        card_limit=0,
        reviews=(),
    ),
    row(
        "charged, and attended after all",
        [*KEPT, request(), intent("succeeded")],
        BOOKED,
        status=S.UNDERPAID,
        owed=2000,
        reviews=(),
    ),
    row(
        "paid in full before, then absent",
        [*KEPT, fact(Kind.SESSION, "cs_1", "paid", 12, "P", amount=DUE)],
        NO_SHOW,
        status=S.PAID,
        overpaid=2000,
        reviews=(Review.AMOUNT_MISMATCH,),
    ),
]


def found(standing: Standing, name: str) -> Any:
    return getattr(standing if hasattr(standing, name) else standing.amounts, name)


@pytest.mark.parametrize(("facts", "terms", "expected"), ROWS)
def test_facts_about_cards_give_one_result_in_any_order(
    facts: list[StripeFact], terms: Terms, expected: dict[str, Any]
) -> None:
    chance = random.Random(7)
    for _ in range(20):
        told = facts * 2
        chance.shuffle(told)
        known: dict[str, StripeFact] = {}
        for each in told:
            known[each.stripe_id] = merge(known[each.stripe_id], each) if each.stripe_id in known else each
        standing = derive(known.values(), terms)
        assert {name: found(standing, name) for name in expected} == expected
        assert sum(line.amount for line in movements(known.values())) == standing.amounts.net


def test_a_cards_details_add_up_however_they_arrive() -> None:
    event, answer, gone = card(at=20), card(at=20, brand="visa", last4="4242"), card("removed", at=25)
    for order in itertools.permutations((event, answer, gone)):
        merged = merge(merge(order[0], order[1]), order[2])
        assert (merged.status, merged.details) == (
            "removed",
            {"customer": "cus_1", "brand": "visa", "last4": "4242"},
        )


def test_a_fee_is_asked_only_for_a_no_show_and_only_where_there_is_one() -> None:
    for terms in (Terms(DUE, "eur", no_show_fee=FEE), Terms(DUE, "eur", no_show=True)):
        assert derive(KEPT, terms).amounts.due == DUE


def test_an_agreement_says_what_was_agreed_and_when() -> None:
    agreement = card_of(KEPT).agreement
    assert agreement is not None
    assert (agreement.amount, agreement.currency, agreement.at) == (FEE, "eur", 10)
    assert (agreement.text, agreement.version, agreement.language) == ("At most 3000.", "1", "en")


def test_a_kept_card_is_named_as_far_as_it_is_known() -> None:
    known = card_of([consent(), card(brand="visa", last4="4242")])
    assert (known.payment_method_id, known.customer_id, known.brand, known.last4) == ("pm_A", "cus_1", "visa", "4242")
    assert derive([card(brand="visa")], BOOKED).card_brand == "visa"
    unknown = card_of([replace(card(), details={})])
    assert (unknown.customer_id, unknown.brand, unknown.last4, unknown.agreement) == ("", "", "", None)


@pytest.mark.parametrize(("facts", "state"), [([], CardState.NONE), ([setup("failed")], CardState.FAILED)])
def test_without_a_card_nothing_is_named(facts: list[StripeFact], state: CardState) -> None:
    found = card_of([consent(), *facts])
    assert found.state == state
    assert (found.payment_method_id, found.customer_id, found.brand, found.last4) == ("", "", "", "")
    assert found.agreement is None


def test_a_record_of_consent_without_words_has_none() -> None:
    agreement = card_of([replace(consent(), details={}), card()]).agreement
    assert agreement is not None
    assert (agreement.text, agreement.version, agreement.language) == ("", "", "")
