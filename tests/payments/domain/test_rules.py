"""Tests of single rules by which facts (states of Stripe objects and desk entries) become sums, statuses and reviews.

They need no database. Each fails if its rule is left out of payments/domain/, which random histories rarely show.
"""

import itertools
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
from tests.payments.stripe_story import START, Event, Story

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


def opened(s: Story, attempt: str = "A") -> Event:
    return of(s.completed(attempt, "unpaid"), status="open")


def withdrawn(*amounts: int) -> list[dict[str, Any]]:
    """Return the balance transactions of a dispute, one a second."""
    return [{"object": "balance_transaction", "amount": n, "created": 777 + at} for at, n in enumerate(amounts)]


ROWS = [
    row("one cent is owed", lambda s: [s.charged(amount=DUE - 1)], status=S.UNDERPAID, owed=1),
    row("a rest is owed during a dispute", lambda s: [s.charged(amount=3000), s.dispute("needs_response")],
        owed=2000, payable=False),
    row("a dispute to answer has a deadline", lambda s: [s.charged(), s.dispute("needs_response")], status=S.DISPUTED,
        reviews=(Review.DISPUTE_DEADLINE,), dispute_due_by=START + 7 * 24 * 3600),
    row("a dispute in another currency is open", lambda s: [s.charged(), s.dispute("under_review", currency="usd")],
        status=S.DISPUTED, lost=0, reviews=(Review.CURRENCY_MISMATCH,)),
    row("paid twice", lambda s: [s.charged("A"), s.charged("B")], status=S.PAID, overpaid=DUE,
        reviews=(Review.DOUBLE_PAYMENT,)),
    row("a part was paid, and the rest is on its way",
        lambda s: [s.charged("A", 3000), s.completed("B", "unpaid", 2000)], status=S.PROCESSING, reviews=()),
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
    row("nothing has happened", lambda s: [], status=S.UNPAID, method="", failure_code="", dispute_due_by=None),
    row("one cent was paid", lambda s: [s.charged(amount=1)], status=S.UNDERPAID, received=1),
    row("all but a cent was refunded", lambda s: [s.charged(), s.refund(DUE - 1)], status=S.PARTIALLY_REFUNDED),
    row("one cent was refunded", lambda s: [s.charged(), s.refund(1)], status=S.PARTIALLY_REFUNDED, owed=0),
    row("all but a cent was taken back", lambda s: [s.charged(), lost(s, DUE - 1)], status=S.UNDERPAID),
    row("a refund waits for the patient", lambda s: [s.charged(), s.refund(1000, "requires_action")],
        status=S.REFUND_PENDING, refund_pending=1000),
    row("a refund is known before its payment", lambda s: [s.refund(1000)], received=1000, refunded=1000),
    row("a pending refund is known before its payment", lambda s: [s.refund(1000, "pending")], received=1000),
    row("a page says paid, and its charge is only authorized",
        lambda s: [s.completed(), of(s.charged(), captured=False, amount_captured=0)], received=DUE, method=""),
    row("a charge and its intent prove as much", lambda s: [s.succeeded(), s.charged()], received=DUE, method="card"),
    row("some of the refunded is known as refunds",
        lambda s: [s.charged(), s.refund(1000), s.charge_refunded(3000)], refunded=3000, waived=3000),
    row("a refund after the charge's state", lambda s: [s.charged(), s.charge_refunded(1000), s.refund(500)],
        refunded=1500),
    row("a refund failed before the charge's state",
        lambda s: [s.charged(), s.refund(1000, "failed"), s.charge_refunded(2000)], refunded=2000),
    row("a refund was canceled before the charge's state",
        lambda s: [s.charged(), s.refund(1000, "canceled"), s.charge_refunded(2000)], refunded=2000),
    row("two charges of an attempt, of which the first was refunded",
        lambda s: [s.charge_refunded(1000), of(s.charged(amount=2000), id="ch_z")], received=7000, refunded=1000),
    row("nothing is due after a discount", lambda s: [s.completed("A", "no_payment_required", 0)],
        status=S.PAID, due=0, owed=0, received=0),
    row("a page of which nothing is known but that it was paid", lambda s: [of(s.completed(), amount_total=0)],
        status=S.UNPAID, owed=DUE),
    row("a bank transfer to make", lambda s: [s.completed("A", "unpaid"), s.requires_action()],
        status=S.CHECKOUT_OPEN, attempt="instructions", on_its_way=0),
    row("a bank transfer to make after a declined card",
        lambda s: [of(s.charged(), status="failed", captured=False), s.completed("A", "unpaid"), s.requires_action()],
        status=S.CHECKOUT_OPEN, attempt="instructions"),
    row("a debit declined after the page", lambda s: [s.completed("A", "unpaid"), s.failed()], status=S.FAILED),
    row("a debit canceled after the page", lambda s: [s.completed("A", "unpaid"), s.canceled()], status=S.FAILED),
    row("a debit under way after the page", lambda s: [s.completed("A", "unpaid"), s.processing()],
        status=S.PROCESSING, payable=False),
    row("an intent that waits for a card", lambda s: [of(s.processing(), status="requires_confirmation")],
        status=S.UNPAID, on_its_way=0),
    row("a question of an unknown page", lambda s: [s.requires_action()], status=S.CHECKOUT_OPEN,
        attempt="requires_action"),
    row("a decline of an unknown page", lambda s: [s.failed()], status=S.FAILED, failure_code="card_declined"),
    row("a declined charge of an open page", lambda s: [opened(s), of(s.charged(), status="failed", captured=False,
        failure_code="expired_card")], status=S.CHECKOUT_OPEN, attempt="failed", failure_code="expired_card"),
    row("a page is open", lambda s: [opened(s)], status=S.CHECKOUT_OPEN, attempt="", failure_code="", payable=True),
    row("a page expired", lambda s: [s.expired()], status=S.EXPIRED, attempt="", failure_code="", payable=True),
    row("two pages are open, and a card was declined on the first",
        lambda s: [opened(s, "A"), s.failed("A"), opened(s, "B")], status=S.CHECKOUT_OPEN, attempt="", failure_code=""),
    row("two pages are open, and a card was declined on the second",
        lambda s: [opened(s, "A"), opened(s, "B"), s.failed("B")], attempt="failed", failure_code="card_declined"),
    row("two pages are open, and the first waits for the patient",
        lambda s: [opened(s, "A"), s.requires_action("A"), opened(s, "B")], attempt="requires_action"),
    row("an attempt with two pages, of which one has expired",
        lambda s: [s.expired(), of(opened(s), id="cs_2")], status=S.EXPIRED),
    row("an attempt with two intents, of which one was declined since",
        lambda s: [of(s.processing(), id="pi_2"), s.failed()], status=S.FAILED),
    row("a bank's question has a deadline", lambda s: [s.charged(), s.dispute("warning_needs_response")],
        status=S.PAID, reviews=(Review.INQUIRY,), dispute_due_by=START + 7 * 24 * 3600),
    row("one cent was taken back", lambda s: [s.charged(), lost(s, 1)], status=S.UNDERPAID, owed=1,
        reviews=(Review.TAKEN_BACK,)),
    row("one cent too much", lambda s: [s.charged(amount=DUE + 1)], status=S.PAID, overpaid=1,
        reviews=(Review.AMOUNT_MISMATCH,)),
    row("a refund was canceled", lambda s: [s.charged(), s.refund(1000, "canceled")], status=S.PAID,
        reviews=(Review.REFUND_CANCELED,)),
    row("a refund failed, and nothing is left to refund", lambda s: [s.charged(), s.refund(1000, "failed"), lost(s)],
        reviews=(Review.TAKEN_BACK,)),
    row("a refund failed, and another of all is on its way",
        lambda s: [s.charged(), s.refund(1000), s.refund(DUE, "pending", name="2"), s.refund(1000, "failed")],
        status=S.REFUND_PENDING, reviews=()),
    row("a refund failed, and the last cent is left", lambda s: [s.charged(), s.refund(1, "failed"), lost(s, DUE - 1)],
        reviews=(Review.REFUND_FAILED, Review.TAKEN_BACK)),
    row("money that was withdrawn came back",
        lambda s: [s.charged(), s.dispute("won", "closed", balance_transactions=withdrawn(-DUE, DUE))],
        status=S.PAID, lost=0, net=DUE, owed=0),
    row("paid too much, then refunded and taken back in one second",
        lambda s: [at(event, 1000) for event in (s.charged(amount=8000), s.refund(2000), lost(s, 3000))],
        waived=0, owed=2000),
    row("paid too much, then a refund that only the charge tells, and taken back in its second",
        lambda s: [s.charged(amount=8000), refunded := of(s.charge_refunded(2000), amount=8000, amount_captured=8000),
                   at(lost(s, 3000), refunded["created"])], waived=0, owed=2000),
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


def test_a_write_off_in_the_second_of_a_loss_counts_after_it(story: Story) -> None:
    dispute = at(lost(story), story.now + 3600)
    given_up = own(Kind.OBSERVATION, "written_off", dispute["created"], DUE)
    assert standing([story.charged(), dispute], TERMS, given_up).amounts.waived == DUE


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


def test_stripes_refund_takes_the_place_of_its_request(story: Story) -> None:
    asked = request(story, 1, 1000)
    refund = of(story.refund(1000), metadata={"refund_request": asked.stripe_id})
    found = standing([story.charged(), refund], TERMS, asked).amounts
    assert (found.refunded, found.refund_pending, found.owed) == (1000, 0, 0)


@pytest.mark.parametrize(("waives", "waived"), [(0, 0), (400, 400), (9000, 1000)])
def test_a_refund_waives_what_its_request_says_but_at_most_its_amount(story: Story, waives: int, waived: int) -> None:
    charged = story.charged()
    asked = replace(request(story, story.now + 60, 1000), details={"waives": waives})
    refund = of(story.refund(1000), metadata={"refund_request": asked.stripe_id})
    for told in ([charged], [charged, refund]):
        assert standing(told, TERMS, asked).amounts.waived == waived


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


def test_a_price_that_is_again_what_it_was_has_not_changed(story: Story) -> None:
    again = Terms(DUE, "eur", earlier_prices=frozenset({DUE, 8000}))
    assert standing([story.charged()], again).reviews == ()
    assert standing([story.charged(amount=8000)], again).reviews == (Review.PRICE_CHANGED,)


def test_less_than_the_deposit_that_was_asked_is_a_mismatch(story: Story) -> None:
    told = [story.completed(amount=2000), story.charged(amount=1500)]
    assert standing(told, Terms(DUE, "eur", deposit=2000)).reviews == (Review.AMOUNT_MISMATCH,)


def test_a_price_alone_has_no_deposit_no_fee_and_no_other_patient(story: Story) -> None:
    asked = [story.completed(amount=1500), story.charged(amount=1500)]
    assert standing(asked, Terms(DUE, "eur")).reviews == (Review.AMOUNT_MISMATCH,)
    canceled = standing(asked, Terms(DUE, "eur", canceled=True))
    assert (canceled.amounts.due, canceled.reviews) == (0, (Review.PAID_AFTER_CANCEL,))


def test_a_part_is_explained_by_what_was_asked(story: Story) -> None:
    """A part of the price needs no review if it was taken at the desk, or if it is the deposit that a page asked for,
    whatever the deposit is now. If no page is known, the present deposit counts.
    """
    deposit = Terms(DUE, "eur", deposit=2000)
    asked = [story.completed(amount=1500), story.charged(amount=1500)]
    assert standing([], TERMS, own(Kind.OFFLINE, "cash", 1, 2000)).reviews == ()
    assert standing(asked, deposit).reviews == ()
    assert standing(asked, TERMS).reviews == (Review.AMOUNT_MISMATCH,)
    assert standing([story.charged(amount=2000)], deposit).reviews == ()
    assert standing([story.charged(amount=1500)], deposit).reviews == (Review.AMOUNT_MISMATCH,)


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
    given_up = own(Kind.OBSERVATION, "written_off", story.now + 3600, DUE, **decision)
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


def test_while_another_currencys_money_is_held_nothing_can_be_paid_online(story: Story) -> None:
    held = replace(own(Kind.OFFLINE, "cash", 1, 2000), currency="chf")
    found = standing([], TERMS, held)
    assert (found.amounts.owed, found.payable, found.reviews) == (DUE, False, (Review.CURRENCY_MISMATCH,))
    assert standing([], TERMS, own(Kind.OFFLINE, "cash", 1, 2000)).payable


def test_a_price_of_one_cent_can_be_paid(story: Story) -> None:
    assert standing([story.charged(amount=1)], Terms(1, "eur")).status == S.PAID


def test_the_method_is_that_of_the_newest_payment(story: Story) -> None:
    paid = story.charged(amount=3000)
    assert standing([paid], TERMS, own(Kind.OFFLINE, "cash", paid["created"] + 60, 2000)).method == "cash"
    assert standing([paid], TERMS, own(Kind.OFFLINE, "cash", 1, 2000)).method == "card"


def test_payments_with_nothing_to_tell_them_apart_are_told_by_their_charges(story: Story) -> None:
    """Without this site's metadata, an intent and its charge are one payment; without an intent, so are a charge and
    its refund.
    """
    story.metadata = False
    assert standing([story.succeeded(), story.charged()]).amounts.received == DUE
    charged, refund = (of(event, payment_intent=None) for event in (story.charged(), story.refund(DUE)))
    found = standing([charged, refund])
    assert (found.amounts.received, found.status) == (DUE, S.REFUNDED)


def test_decisions_and_cards_are_no_attempts_to_pay() -> None:
    facts = [own(Kind.OBSERVATION, "stuck", 1), own(Kind.CARD, "kept", 2), own(Kind.SETUP, "failed", 3)]
    assert attempts_of(facts) == []


def test_of_a_canceled_visit_only_what_exceeds_the_fee_is_reviewed(story: Story) -> None:
    canceled = replace(TERMS, canceled=True, fee=DUE - 1)
    assert standing([story.charged()], canceled).reviews == (Review.PAID_AFTER_CANCEL,)
    assert standing([story.charged()], replace(canceled, slot_lost=True)).reviews == (Review.SLOT_LOST,)
    assert standing([story.charged()], replace(canceled, fee=DUE, slot_lost=True)).reviews == ()
    assert standing([], replace(TERMS, canceled=True)).status == S.VOID


def test_of_a_canceled_visit_it_is_no_question_that_a_part_of_the_fee_is_owed(story: Story) -> None:
    found = standing([story.charged(amount=3000)], replace(TERMS, canceled=True, fee=4000))
    assert (found.status, found.reviews) == (S.UNDERPAID, ())


# What staff decide


def test_a_refund_that_waits_for_approval_is_reviewed(story: Story) -> None:
    waiting = own(Kind.OBSERVATION, "awaiting_approval", story.now, 1000)
    assert standing([story.charged()], TERMS, waiting).reviews == (Review.REFUND_APPROVAL,)


def test_a_refund_that_stripe_refused_at_once_is_no_review(story: Story) -> None:
    refused = replace(request(story, story.now, 1000), status="canceled")
    assert standing([story.charged()], TERMS, refused).reviews == ()
    assert standing([story.charged()], TERMS, replace(refused, status="failed")).reviews == (Review.REFUND_FAILED,)


def test_what_was_refunded_before_the_patient_was_asked_again_is_owed(story: Story) -> None:
    """The refund is known only from the charge's total, so that it counts from that state of the charge on."""
    told = [story.charged(), story.charge_refunded(2000)]
    for seconds, owed in ((-1, 0), (0, 2000)):
        asked = own(Kind.OBSERVATION, "asked_again", story.now + seconds)
        assert standing(told, TERMS, asked).amounts.owed == owed


def test_no_more_is_written_off_than_is_missing(story: Story) -> None:
    told = [story.charged(), story.refund(3000)]
    assert standing(told, TERMS, own(Kind.OBSERVATION, "written_off", story.now + 1, DUE)).amounts.waived == 3000


def test_booking_again_decides_about_no_dispute(story: Story) -> None:
    found = standing([story.charged(), lost(story)], TERMS, own(Kind.OBSERVATION, "asked_again", story.now + 1))
    assert found.reviews == (Review.TAKEN_BACK,)


def test_an_overdue_debit_is_reviewed_as_long_as_it_is_on_its_way(story: Story) -> None:
    overdue = replace(own(Kind.OBSERVATION, "stuck", story.now), attempt="A")
    assert standing([story.completed("A", "unpaid")], TERMS, overdue).reviews == (Review.STUCK,)
    assert standing([story.completed("B", "unpaid")], TERMS, overdue).reviews == ()
    assert standing([story.completed("A")], TERMS, overdue).reviews == ()
    story.metadata = False
    assert standing([story.completed("A", "unpaid")], TERMS, replace(overdue, attempt="")).reviews == (Review.STUCK,)


# The desk


def test_what_was_given_back_at_the_desk_cannot_be_given_back_again() -> None:
    facts = [own(Kind.OFFLINE, "cash", 1, DUE), own(Kind.DESK_REFUND, "cash", 2, 2000)]
    assert desk_refundable(attempts_of(facts)) == 3000
    assert desk_refundable(attempts_of([*facts, own(Kind.DESK_REFUND, "cash", 3, 3000)])) == 0


@pytest.mark.parametrize(("said", "waived"), [({}, 2000), ({"waives": 0}, 0), ({"waives": 500}, 500)])
def test_what_was_given_back_at_the_desk_is_owed_unless_it_was_waived(said: dict[str, int], waived: int) -> None:
    facts = [own(Kind.OFFLINE, "cash", 100, DUE), own(Kind.DESK_REFUND, "cash", 200, 2000, **said)]
    found = standing([], TERMS, *facts).amounts
    assert (found.refunded, found.net, found.waived, found.owed) == (2000, 3000, waived, 2000 - waived)


def test_what_was_given_back_in_another_currency_waives_nothing() -> None:
    foreign = replace(own(Kind.DESK_REFUND, "cash", 3, 2000), currency="chf")
    found = standing([], TERMS, own(Kind.OFFLINE, "cash", 1, 3000), foreign).amounts
    assert (found.refunded, found.waived, found.owed) == (0, 0, 2000)


def test_giving_back_comes_before_a_loss_of_the_same_second(story: Story) -> None:
    given = own(Kind.DESK_REFUND, "cash", 1000, 2000)
    told = [at(story.charged(amount=3000), 1000), at(lost(story, 3000), 1000)]
    found = standing(told, TERMS, own(Kind.OFFLINE, "cash", 1000, DUE), given).amounts
    assert (found.waived, found.owed) == (0, 2000)


def test_a_mistaken_entry_brought_nothing_and_the_others_stand() -> None:
    mistake, right = own(Kind.OFFLINE, "cash", 1, 3000), own(Kind.OFFLINE, "cheque", 2, 2000)
    undone = own(Kind.REVERSAL, "reversed", 3, entry=mistake.stripe_id)
    found = standing([], TERMS, mistake, right, undone)
    assert (found.status, found.method) == (S.UNDERPAID, "cheque")
    assert (found.amounts.received, found.amounts.refunded) == (2000, 0)
    first, second = attempts_of([mistake, right, undone])
    assert (first.received, first.kept, second.received) == (0, 0, 2000)
    assert desk_refundable([first, second]) == 2000


def test_giving_back_by_mistake_leaves_all_in_the_till() -> None:
    taken, given = own(Kind.OFFLINE, "cash", 1, DUE), own(Kind.DESK_REFUND, "cash", 2, 2000)
    undone = own(Kind.REVERSAL, "reversed", 3, entry=given.stripe_id)
    found = standing([], TERMS, taken, given, undone)
    assert (found.status, found.amounts.received, found.amounts.refunded, found.amounts.waived) == (S.PAID, DUE, 0, 0)
    assert desk_refundable(attempts_of([taken, given, undone])) == DUE


# What Stripe can still refund


@pytest.mark.parametrize(
    ("tell", "refundable", "kept"),
    [
        (lambda s: [s.charged()], DUE, DUE),
        (lambda s: [s.charged(), s.refund(1000), s.refund(500, "pending", name="2"), lost(s, 300)], 3200, 3700),
        (lambda s: [s.charged(), s.refund(1000), s.charge_refunded(3000)], 2000, 2000),
        (lambda s: [s.charged(), s.refund(DUE)], 0, 0),
        (lambda s: [s.charged(), s.refund(4000), lost(s, 2000)], 0, 0),
        (lambda s: [s.charged(), s.dispute("under_review")], 0, DUE),
    ],
    ids=["all", "the rest", "the rest of the charge's total", "nothing", "less than nothing", "not while disputed"],
)
def test_stripe_can_refund_what_is_left(story: Story, tell: Tell, refundable: int, kept: int) -> None:
    (attempt,) = attempts_of(facts_of(tell(story)).values())
    assert (attempt.refundable, attempt.kept) == (refundable, kept)


def test_stripe_cannot_refund_what_the_desk_took() -> None:
    (attempt,) = attempts_of([own(Kind.OFFLINE, "cash", 1, DUE)])
    assert attempt.refundable == 0


# Movements


def test_movements_of_several_attempts_stand_by_date(story: Story) -> None:
    told = [at(story.charged("A"), 100), at(story.charged("B"), 200), at(story.refund(1000, attempt="A"), 300)]
    lines = movements(facts_of(told).values())
    assert [(line.at, line.amount) for line in lines] == [(100, DUE), (200, DUE), (300, -1000)]


def lines_of(events: list[Event], *own: StripeFact) -> list[tuple[str, int, int, str, str]]:
    """Return of each movement its kind, amount, time, method and the first letters of its proof's id."""
    lines = movements([*facts_of(events).values(), *own])
    assert {line.currency for line in lines} == {"eur"}
    return [(str(line.kind), line.amount, line.at, line.method, line.fact_id[:3]) for line in lines]


def test_each_movement_has_its_date_its_method_and_its_proof(story: Story) -> None:
    told = [at(story.charged(), 100), at(story.charge_refunded(3000), 150), at(story.refund(1000), 120)]
    told += [at(lost(story, 500), 200)]
    assert lines_of(told) == [
        ("payment", DUE, 100, "card", "ch_"),
        ("refund", -1000, 120, "card", "re_"),
        ("refund", -2000, 150, "card", "ch_"),
        ("taken_back", -500, 200, "card", "du_"),
    ]


def test_entries_at_the_desk_and_mistakes_move_money_too() -> None:
    taken, given = own(Kind.OFFLINE, "cheque", 10, DUE), own(Kind.DESK_REFUND, "cash", 20, 2000)
    undone = [own(Kind.REVERSAL, "reversed", 20 + at, entry=fact.stripe_id) for at, fact in ((10, given), (20, taken))]
    assert lines_of([], taken, given, *undone) == [
        ("payment", DUE, 10, "cheque", "off"),
        ("desk_refund", -2000, 20, "cash", "des"),
        ("reversal", 2000, 30, "cash", "rev"),
        ("reversal", -DUE, 40, "cheque", "rev"),
    ]


def test_movements_of_one_second_never_let_the_sum_dip(story: Story) -> None:
    told = [lost(story, 500), story.refund(1000), story.charged("A"), story.charged("B")]
    kinds = [line[0] for line in lines_of([at(event, 100) for event in told])]
    assert kinds == ["payment", "payment", "refund", "taken_back"]


def test_no_more_goes_back_than_came(story: Story) -> None:
    """The line that would exceed what was received is shortened, and those after it are left out."""
    refunds = [at(story.refund(2000, name=str(number)), 100 * number) for number in (1, 2, 3)]
    disputes = [of(at(lost(story, 2000), 1000 * number), id=f"du_{number}") for number in (1, 2, 3)]
    amounts = [line[1] for line in lines_of([at(story.charged(amount=3000), 1), *refunds, *disputes])]
    assert amounts == [3000, -2000, -1000, -2000, -1000]


def test_what_came_back_from_the_bank_has_two_lines(story: Story) -> None:
    won = story.dispute("won", "closed", 3300, balance_transactions=withdrawn(-3300, 3300))
    assert lines_of([at(story.charged(), 100), won]) == [
        ("payment", DUE, 100, "card", "ch_"),
        ("taken_back", -3300, 777, "card", "du_"),
        ("reinstated", 3300, 778, "card", "du_"),
    ]


def test_a_line_without_a_currency_has_that_of_its_payment(story: Story) -> None:
    charged, refund = facts_of([story.charged(), story.refund(1000)]).values()
    assert [line.currency for line in movements([charged, replace(refund, currency="")])] == ["eur", "eur"]
    taken = own(Kind.OFFLINE, "cash", 1, 1000)
    undone = replace(own(Kind.REVERSAL, "reversed", 2, entry=taken.stripe_id), currency="")
    assert [line.currency for line in movements([taken, undone])] == ["eur", "eur"]
    assert [line.currency for line in movements([replace(own(Kind.DESK_REFUND, "cash", 1), currency="")])] == [""]


def test_a_lost_dispute_takes_its_amount_once(story: Story) -> None:
    told = [at(story.charged(), 100), lost(story, balance_transactions=withdrawn(-DUE, DUE))]
    assert [line[1] for line in lines_of(told)] == [DUE, -DUE]


def test_money_is_taken_back_when_stripe_withdraws_it(story: Story) -> None:
    rows = [{"object": "balance_transaction", "amount": -DUE, "created": 777}]
    lines = movements(facts_of([story.charged(), lost(story, balance_transactions=rows)]).values())
    assert (-DUE, 777) in [(line.amount, line.at) for line in lines]


def test_a_dispute_won_in_another_currency_moves_nothing(story: Story) -> None:
    rows = [{"object": "balance_transaction", "amount": amount, "created": 777} for amount in (-3300, 3300)]
    won = story.dispute("won", "closed", 3300, currency="usd", balance_transactions=rows)
    assert [line.amount for line in movements(facts_of([story.charged(), won]).values())] == [DUE]


def test_of_what_a_fact_does_not_say_nothing_is_assumed() -> None:
    said = StripeFact(Kind.SESSION, "cs_1", "open", 100)
    assert (said.date, said.reached, said.ids) == (100, 100, ["cs_1"])
    assert (said.amount, said.amount_refunded, said.currency, said.details) == (0, 0, "", {})
    assert (said.livemode, said.payment_id, said.attempt) == (False, "", "")


def test_a_state_without_links_keeps_those_that_were_known(story: Story) -> None:
    (known,) = from_event(story.charged())
    newer = replace(known, as_of=known.as_of + 1, payment_intent_id="", payment_id="", attempt="")
    for merged in (merge(known, newer), merge(newer, known)):
        assert (merged.payment_intent_id, merged.payment_id, merged.attempt) == (
            known.payment_intent_id,
            known.payment_id,
            known.attempt,
        )


# Which of two states of one object counts

MORE_FINAL: list[tuple[Kind, str, str]] = [
    (Kind.SESSION, "open", "expired"),
    (Kind.SESSION, "expired", "processing"),  # it was completed at the last moment
    (Kind.SESSION, "processing", "failed paid no_payment_required"),
    (Kind.SESSION, "failed", "paid"),
    (Kind.INTENT, "idle requires_action processing failed", "canceled succeeded"),
    (Kind.INTENT, "canceled", "succeeded"),
    (Kind.CHARGE, "pending", "failed succeeded"),
    (Kind.CHARGE, "failed", "succeeded"),
    (Kind.REFUND, "pending", "requires_action succeeded"),
    (Kind.REFUND, "requires_action", "succeeded"),
    (Kind.REFUND, "succeeded", "failed canceled"),
    (Kind.DISPUTE, "warning_needs_response warning_under_review", "warning_closed prevented"),
    (Kind.DISPUTE, "needs_response under_review", "won lost"),
    (Kind.SETUP_PAGE, "open", "expired complete"),
    (Kind.SETUP_PAGE, "expired", "complete"),
    (Kind.SETUP, "idle failed", "canceled succeeded"),
    (Kind.SETUP, "canceled", "succeeded"),
    (Kind.CARD, "kept", "removed"),
    (Kind.OBSERVATION, "awaiting_approval", "approved declined"),
]
# In a second in which an object was in two of these states, it ended in the one that stands later.
AS_FINAL: list[tuple[Kind, str]] = [
    (Kind.SESSION, "paid no_payment_required"),
    (Kind.INTENT, "idle requires_action processing failed"),
    (Kind.REFUND, "failed canceled"),
    (Kind.DISPUTE, "warning_needs_response warning_under_review needs_response under_review"),
    (Kind.DISPUTE, "warning_closed prevented won lost"),
    (Kind.SETUP, "idle failed"),
    (Kind.OBSERVATION, "stuck awaiting_approval asked_again written_off"),
    (Kind.OBSERVATION, "approved declined"),
    (Kind.OFFLINE, "cash terminal cheque transfer insurer"),
    (Kind.DESK_REFUND, "cash terminal cheque transfer insurer"),
]


def state(kind: Kind, status: str, as_of: int = 1000, **more: Any) -> StripeFact:
    return StripeFact(kind, "id", status, as_of, **more)


@pytest.mark.parametrize(("kind", "early", "final"), MORE_FINAL)
def test_a_more_final_state_stays_whatever_is_heard_later(kind: Kind, early: str, final: str) -> None:
    for one, other in itertools.product(early.split(), final.split()):
        merged = merge(state(kind, one, 2000), state(kind, other))
        assert (merged.status, merged.reached) == (other, 1000)
        assert merge(state(kind, other, 2000), state(kind, one)).reached == 2000


@pytest.mark.parametrize(("kind", "states"), AS_FINAL)
def test_of_states_as_final_the_newer_one_counts(kind: Kind, states: str) -> None:
    for one, other in itertools.combinations(states.split(), 2):
        for newer, older in ((one, other), (other, one)):
            merged = merge(state(kind, newer, 1001), state(kind, older))
            assert (merged.status, merged.as_of, merged.reached) == (newer, 1001, 1000)
        assert merge(state(kind, one), state(kind, other)).status == other


def test_entries_and_consents_have_one_state() -> None:
    for kind, status in ((Kind.REVERSAL, "reversed"), (Kind.CONSENT, "agreed")):
        assert merge(state(kind, status), state(kind, status, 1001)).status == status


def test_of_one_state_in_one_second_the_greater_sums_count() -> None:
    small, large = state(Kind.CHARGE, "succeeded", amount=1), state(Kind.CHARGE, "succeeded", amount=2)
    assert merge(small, large) == merge(large, small) == large
    less, more = replace(large, amount_refunded=1), replace(large, amount_refunded=2)
    assert merge(less, more) == merge(more, less) == more
    one, other = (replace(more, details={"method": method}) for method in ("card", "link"))
    assert merge(one, other) == merge(other, one)


def test_a_merged_fact_has_the_earliest_creation_that_is_known() -> None:
    late, early, unknown = (state(Kind.CHARGE, "succeeded", created=created) for created in (500, 400, 0))
    assert merge(late, early).created == merge(early, unknown).created == merge(unknown, early).created == 400
    assert merge(unknown, unknown).created == 0


def test_when_a_state_was_reached_is_said_only_if_it_was_earlier() -> None:
    assert merge(state(Kind.CHARGE, "succeeded"), state(Kind.CHARGE, "succeeded")).since == 0
    later = merge(state(Kind.CHARGE, "succeeded"), state(Kind.CHARGE, "succeeded", 3000))
    assert (later.since, merge(later, state(Kind.CHARGE, "succeeded", 4000)).since) == (1000, 1000)


def test_only_a_card_keeps_what_an_older_state_said() -> None:
    for kind, status, kept in (
        (Kind.CARD, "kept", {"a": 1, "b": 3, "c": 4}),
        (Kind.CHARGE, "succeeded", {"b": 3, "c": 4}),
    ):
        older, newer = (
            state(kind, status, details={"a": 1, "b": 2}),
            state(kind, status, 1001, details={"b": 3, "c": 4}),
        )
        assert merge(older, newer).details == merge(newer, older).details == kept
