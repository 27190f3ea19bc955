"""Tests of single rules by which facts (states of Stripe objects and desk entries) become sums, statuses and reviews.

They need no database. Each fails if its rule is left out of payments/domain/, which random histories rarely show.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from payments.domain.attempts import attempts_of, desk_refundable
from payments.domain.facts import Kind, StripeFact
from payments.domain.movements import movements
from payments.domain.precedence import merge
from payments.domain.status import PaymentStatus as S
from payments.domain.status import Review, Standing, Terms, derive
from payments.gateway.event_types import from_event
from tests.payments.domain.test_order import NoDatabase
from tests.payments.stripe_story import Event, Story

DUE = 5000
TERMS = Terms(DUE, "eur")
Tell = Callable[[Story], list[Event]]


def facts_of(events: list[Event]) -> dict[str, StripeFact]:
    facts: dict[str, StripeFact] = {}
    for fact in (fact for event in events for fact in from_event(event)):
        facts[fact.stripe_id] = merge(facts[fact.stripe_id], fact) if fact.stripe_id in facts else fact
    return facts


def standing(events: list[Event], terms: Terms = TERMS, *own: StripeFact) -> Standing:
    """Return the standing of a payment of which these events, and these facts of the site's `own`, are known."""
    return derive([*facts_of(events).values(), *own], terms)


def own(kind: Kind, status: str, at: int, amount: int = 0, **details: Any) -> StripeFact:
    """Return a fact of the site's own, made at `at` (Unix seconds)."""
    fields: dict[str, Any] = {"stripe_id": f"{kind}_{status}_{at}", "as_of": at, "created": at, "amount": amount}
    return StripeFact(kind=kind, status=status, currency="eur", details=details, **fields)


def request(story: Story, at: int, amount: int) -> StripeFact:
    """Return a refund request of the site's that Stripe hasn't answered."""
    intent = story.intent("A", "succeeded")["id"]
    return replace(own(Kind.REFUND, "pending", at, amount), stripe_id="request_1", payment_intent_id=intent)


def at(event: Event, moment: int) -> Event:
    """Return the event as if it and its object had been made at this moment (Unix seconds)."""
    obj = event["data"]["object"] | {"created": moment}
    return event | {"created": moment, "data": {"object": obj}}


def later(event: Event) -> Event:
    """Return the event as if its object had been made at the time of the event."""
    return at(event, event["created"])


def of(event: Event, **fields: Any) -> Event:
    """Return the event with other fields in its object."""
    return event | {"data": {"object": event["data"]["object"] | fields}}


@pytest.fixture
def story() -> Story:
    return Story(NoDatabase())


def row(title: str, tell: Tell, **expected: Any) -> Any:
    return pytest.param(tell, expected, id=title)


def lost(s: Story, amount: int = DUE, attempt: str = "A", **fields: Any) -> Event:
    return s.dispute("lost", "closed", amount, attempt, **fields)


ROWS = [
    row("one cent is owed", lambda s: [s.charged(amount=DUE - 1)], status=S.UNDERPAID, owed=1),
    row("a rest is owed during a dispute", lambda s: [s.charged(amount=3000), s.dispute("needs_response")],
        owed=2000, payable=False),
    row("an answered dispute has no deadline", lambda s: [s.charged(), s.dispute("under_review", "updated")],
        status=S.DISPUTED, reviews=(), dispute_due_by=None),
    row("the nearer of two deadlines counts",
        lambda s: [s.charged("A"), s.charged("B"), s.dispute("needs_response", evidence_details={"due_by": 300}),
                   s.dispute("needs_response", attempt="B", evidence_details={"due_by": 200})], dispute_due_by=200),
    row("paid twice, once taken back", lambda s: [s.charged("A"), s.charged("B"), lost(s, attempt="B")],
        status=S.PAID, reviews=()),
    row("paid twice, once refunded, then taken back",
        lambda s: [s.charged("A"), s.charged("B"), s.refund(DUE, attempt="B"), later(lost(s, attempt="A"))],
        waived=0, owed=DUE, reviews=(Review.TAKEN_BACK,)),
    row("taken back twice, more than was paid",
        lambda s: [s.charged(), lost(s, 3000), of(lost(s, 3000), id="du_2")], lost=DUE, net=0),
    row("taken back more than was paid, then paid too much, refunded and taken back",
        lambda s: [s.charged("A"), lost(s, 9000), s.charged("B", 8000), s.refund(3000, attempt="B"),
                   later(lost(s, DUE, "B"))], waived=0, net=0, owed=DUE),
    row("refunded twice, more than was paid",
        lambda s: [s.charged(amount=3000), s.refund(2000), s.refund(2000, name="2")], refunded=3000, net=0),
    row("two disputes alone prove one payment",
        lambda s: [lost(s), of(s.dispute("needs_response"), id="du_2")], received=DUE),
    row("a failed refund alone proves no payment", lambda s: [s.refund(1000, "failed")], received=0, status=S.UNPAID),
    row("the charge proves more than the intent", lambda s: [s.charged(), s.succeeded(amount=3000)], received=DUE),
    row("the intent proves more than the charge", lambda s: [s.charged(amount=3000), s.succeeded()], received=DUE),
    row("a refund names only its charge", lambda s: [s.charged(), of(s.refund(2000), payment_intent=None)],
        status=S.PARTIALLY_REFUNDED, received=DUE, refunded=2000),
    row("a failed refund stays failed", lambda s: [s.charged(), s.refund(1000, "failed"), s.refund(1000)],
        refunded=0, reviews=(Review.REFUND_FAILED,)),
    row("a canceled intent stays canceled", lambda s: [s.canceled(), s.failed()], status=S.UNPAID),
    row("a failed debit stays failed", lambda s: [s.async_failed(), s.completed("A", "unpaid")], status=S.FAILED),
    row("an expired page stays expired", lambda s: [s.expired(), of(s.completed("A", "unpaid"), status="open")],
        status=S.EXPIRED),
    row("a closed dispute stays closed", lambda s: [s.charged(), lost(s), s.dispute("needs_response", "updated")],
        status=S.CHARGED_BACK),
    row("a refund fails after a later one was made",
        lambda s: [s.charged(), s.refund(1000), s.refund(2000, name="2"), s.refund(1000, "failed")],
        refunded=2000, reviews=(Review.REFUND_FAILED,)),
    row("an attempt failed, the last one expired",
        lambda s: [s.completed("A", "unpaid"), s.async_failed("A"), s.expired("B")], status=S.EXPIRED),
    row("the attempt that began last counts, though it is heard of first",
        lambda s: [s.completed("B", "unpaid"), s.async_failed("B"), s.expired("A")], status=S.FAILED),
    row("only the charge tells of a refund", lambda s: [s.charged(), s.charge_refunded(2000)],
        refunded=2000, waived=2000, owed=0, status=S.PARTIALLY_REFUNDED),
    row("staff haven't decided about what was taken back", lambda s: [s.charged(), lost(s)], owed=DUE, payable=False),
    row("a decline before a debit", lambda s: [s.failed(), s.completed("A", "unpaid")],
        status=S.PROCESSING, failure_code="", on_its_way=DUE),
    row("a bank's question before a charge that waits to be captured",
        lambda s: [s.requires_action(), s._event("charge.succeeded", s.charge("A") | {"captured": False,
                   "amount_captured": 0}), s.completed("A", "unpaid")], status=S.PROCESSING, on_its_way=DUE),
    row("an open question of a page, and another page paid", lambda s: [s.requires_action("A"), s.charged("B")],
        status=S.PAID, attempt=""),
]  # fmt: skip


@pytest.mark.parametrize(("tell", "expected"), ROWS)
def test_each_rule_holds(story: Story, tell: Tell, expected: dict[str, Any]) -> None:
    found = standing(tell(story))
    names = {name: getattr(found if hasattr(found, name) else found.amounts, name) for name in expected}
    assert names == expected


# Ties: what happened in one second


def test_asking_again_in_the_second_of_a_refund_ends_its_waiver(story: Story) -> None:
    refund = story.refund(DUE)
    found = standing([story.charged(), refund], TERMS, own(Kind.OBSERVATION, "asked_again", refund["created"]))
    assert (found.amounts.waived, found.amounts.owed) == (0, DUE)


def test_payments_of_one_second_come_before_its_refunds(story: Story) -> None:
    """A refund of one of two payments waives nothing, even if all three were made in one second."""
    events = [story.charged("A"), story.refund(DUE, attempt="A"), story.charged("B")]
    found = standing([at(event, 1000) for event in events])
    assert (found.status, found.amounts.waived) == (S.PAID, 0)


def test_a_refund_made_in_the_second_in_which_another_failed_repeats_it(story: Story) -> None:
    failed = story.refund(1000, "failed")
    again = at(story.refund(1000, name="2"), failed["created"])
    assert standing([story.charged(), failed, again]).reviews == ()


def test_a_refund_that_fails_in_the_second_of_its_charges_state_is_still_in_it(story: Story) -> None:
    charged, failed = story.charge_refunded(1000), story.refund(1000, "failed")
    failed["data"]["object"]["created"] = charged["created"]
    found = standing([charged, failed | {"created": charged["created"]}])
    assert found.amounts.refunded == 0


def test_of_two_states_of_a_charge_of_one_second_the_one_with_more_refunded_counts(story: Story) -> None:
    states = [of(story.charge_refunded(amount), id="ch_1") | {"created": 1000} for amount in (1000, DUE)]
    for order in (states, states[::-1]):
        assert standing(order).amounts.refunded == DUE


def test_a_debit_completed_in_the_second_of_a_decline_is_on_its_way(story: Story) -> None:
    declined, completed = story.failed(), story.completed("A", "unpaid")
    assert standing([declined, completed | {"created": declined["created"]}]).status == S.PROCESSING


# Requests


def test_a_request_is_no_part_of_what_a_charge_says_was_refunded(story: Story) -> None:
    told = [story.charged(), story.charge_refunded(1000)]
    found = standing(told, TERMS, request(story, told[0]["created"], 1000)).amounts
    assert (found.refunded, found.refund_pending) == (1000, 1000)


def test_a_refund_that_stripe_makes_late_waives_as_of_its_request(story: Story) -> None:
    """Asking again between the request and Stripe's refund ends the waiver, because the request was made before."""
    charged = story.charged()
    refund = of(story.refund(DUE), metadata={"refund_request": "request_1"})
    asked = [request(story, charged["created"] + 1, DUE), own(Kind.OBSERVATION, "asked_again", charged["created"] + 2)]
    found = standing([charged, at(refund, charged["created"] + 3)], TERMS, *asked).amounts
    assert (found.refunded, found.waived, found.owed) == (DUE, 0, DUE)


def test_a_refund_that_was_decided_about_waits_no_more() -> None:
    asked = own(Kind.OBSERVATION, "awaiting_approval", 2, 1000)
    decided = replace(asked, status="declined", as_of=1)  # by a clock that is behind
    for facts in ((asked, decided), (decided, asked)):
        assert standing([], TERMS, merge(*facts)).reviews == ()


# Prices, deposits and currencies


def test_payments_that_sum_up_to_an_earlier_price_are_no_double_payment(story: Story) -> None:
    told = [story.charged("A", 3000), story.charged("B", 2000)]
    assert standing(told, Terms(4000, "eur", earlier_prices=frozenset({DUE}))).reviews == (Review.PRICE_CHANGED,)


def test_less_than_the_deposit_that_was_asked_is_a_mismatch(story: Story) -> None:
    told = [story.completed(amount=2000), story.charged(amount=1500)]
    assert standing(told, Terms(DUE, "eur", deposit=2000)).reviews == (Review.AMOUNT_MISMATCH,)


def test_a_canceled_visit_whose_money_came_back_has_one_review(story: Story) -> None:
    decided = own(Kind.OBSERVATION, "asked_again", 1, disputes=[story.dispute("won")["data"]["object"]["id"]])
    told = [story.charged("A"), story.charged("B"), story.dispute("won", "closed")]
    assert standing(told, TERMS, decided).reviews == (Review.REINSTATED,)
    assert standing(told, replace(TERMS, canceled=True), decided).reviews == (Review.PAID_AFTER_CANCEL,)


def test_a_dispute_in_another_currency_leaves_what_can_be_refunded(story: Story) -> None:
    facts = facts_of([story.charged(), lost(story, 3300, currency="usd")]).values()
    (attempt,) = attempts_of(facts)
    assert attempt.refundable == DUE


def test_what_was_taken_back_and_written_off_is_charged_back(story: Story) -> None:
    dispute = lost(story)
    decision = {"disputes": [dispute["data"]["object"]["id"]]}
    given_up = own(Kind.OBSERVATION, "written_off", dispute["created"] + 1, DUE, **decision)
    found = standing([story.charged(), dispute], TERMS, given_up)
    assert (found.status, found.amounts.owed, found.reviews) == (S.CHARGED_BACK, 0, ())


def test_an_old_decline_isnt_told_while_a_debit_is_under_way(story: Story) -> None:
    """The price was raised, so that something is owed beside the debit, but nothing about the debit was declined."""
    told = [story.failed(), story.completed("A", "unpaid")]
    found = standing(told, replace(TERMS, price=8000))
    assert (found.amounts.owed, found.failure_code) == (3000, "")


def test_another_currencys_payment_that_was_taken_back_is_over_once_decided(story: Story) -> None:
    story.currency = "usd"
    told = [story.charged(), lost(story)]
    assert standing(told).reviews == (Review.CURRENCY_MISMATCH,)
    found = standing(
        told, TERMS, own(Kind.OBSERVATION, "written_off", 1, disputes=[story.dispute("lost")["data"]["object"]["id"]])
    )
    assert (found.reviews, found.payable) == ((), True)


def test_the_method_is_that_of_the_newest_payment(story: Story) -> None:
    paid = story.charged(amount=3000)
    assert standing([paid], TERMS, own(Kind.OFFLINE, "cash", paid["created"] + 60, 2000)).method == "cash"
    assert standing([paid], TERMS, own(Kind.OFFLINE, "cash", 1, 2000)).method == "card"


def test_what_was_given_back_at_the_desk_cannot_be_given_back_again() -> None:
    facts = [own(Kind.OFFLINE, "cash", 1, DUE), own(Kind.DESK_REFUND, "cash", 2, 2000)]
    assert desk_refundable(attempts_of(facts)) == 3000


# Movements


def test_movements_of_several_attempts_stand_by_date(story: Story) -> None:
    told = [at(story.charged("A"), 100), at(story.charged("B"), 200), at(story.refund(1000, attempt="A"), 300)]
    lines = movements(facts_of(told).values())
    assert [(line.at, line.amount) for line in lines] == [(100, DUE), (200, DUE), (300, -1000)]


def test_money_is_taken_back_when_stripe_withdraws_it(story: Story) -> None:
    rows = [{"object": "balance_transaction", "amount": -DUE, "created": 777}]
    lines = movements(facts_of([story.charged(), lost(story, balance_transactions=rows)]).values())
    assert (-DUE, 777) in [(line.amount, line.at) for line in lines]


def test_a_dispute_won_in_another_currency_moves_nothing(story: Story) -> None:
    rows = [{"object": "balance_transaction", "amount": amount, "created": 777} for amount in (-3300, 3300)]
    won = story.dispute("won", "closed", 3300, currency="usd", balance_transactions=rows)
    assert [line.amount for line in movements(facts_of([story.charged(), won]).values())] == [DUE]


def test_a_state_without_links_keeps_those_that_were_known(story: Story) -> None:
    (known,) = from_event(story.charged())
    newer = replace(known, as_of=known.as_of + 1, payment_intent_id="", payment_id="", attempt="")
    for merged in (merge(known, newer), merge(newer, known)):
        assert (merged.payment_intent_id, merged.payment_id, merged.attempt) == (
            known.payment_intent_id,
            known.payment_id,
            known.attempt,
        )
