"""Tests by enumeration: every order of every choice of a few events, and the laws of `merge` for every few states.

Random histories (test_order.py, test_money_machine.py) go deeper, but leave gaps; here there are none.
"""

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from payments.domain.facts import Kind, StripeFact
from payments.domain.movements import movements
from payments.domain.precedence import RANKS, merge
from payments.domain.status import Standing, Terms, derive
from payments.gateway.event_types import from_event
from tests.payments.domain.test_order import NoDatabase
from tests.payments.stripe_story import Story

DUE = 5000
Facts = dict[str, StripeFact]  # by id
Tell = Callable[[Story], Any]


def own(kind: Kind, status: str, at: int, amount: int = 0, **details: Any) -> StripeFact:
    """Return a fact of the site's own about an entry or a decision, made at `at` (Unix seconds)."""
    name = f"{kind}_{status}"
    return StripeFact(kind, name, status, at, created=at, amount=amount, currency="eur", details=details)


# One card payment with what may become of it; a second attempt; the desk.
CARD: list[Tell] = [
    lambda s: s.failed("A"),
    lambda s: s.completed("A"),
    lambda s: s.charged("A"),
    lambda s: s.refund(1000, "pending"),
    lambda s: s.refund(1000),
    lambda s: s.refund(1000, "failed"),
    lambda s: s.charge_refunded(1000),
    lambda s: s.dispute("needs_response"),
    lambda s: s.dispute("lost", "closed"),
    lambda s: s.dispute("won", "closed"),
]
DEBIT_AND_DESK: list[Tell] = [
    lambda s: s.completed("A", "unpaid"),
    lambda s: s.processing("A"),
    lambda s: s.async_succeeded("A"),
    lambda s: s.async_failed("A"),
    lambda s: s.expired("B"),
    lambda s: s.succeeded("B", 2000),
    lambda s: [own(Kind.OFFLINE, "cash", s.now + 30, 3000)],
    # The desk refuses to undo or give back what it hasn't taken.
    lambda s: [
        own(Kind.OFFLINE, "cash", s.now + 30, 3000),
        own(Kind.REVERSAL, "reversed", s.now + 60, entry="offline_cash"),
    ],
    lambda s: [own(Kind.OFFLINE, "cheque", s.now + 70, 1000), own(Kind.DESK_REFUND, "cash", s.now + 90, 1000)],
    lambda s: [own(Kind.OBSERVATION, "written_off", s.now + 120, 500)],
]
TERMS = {
    "to pay": Terms(DUE, "eur"),
    "canceled, with a fee": Terms(DUE, "eur", canceled=True, fee=1500),
}


def alphabet(steps: list[Tell], *, one_second: bool) -> list[list[StripeFact]]:
    """Return the facts that each step tells: dated a minute apart, or all in one second."""
    story = Story(NoDatabase())
    start, letters = story.now, []
    for step in steps:
        said = step(story)
        letters.append(from_event(said) if isinstance(said, dict) else said)
        if one_second:
            story.now = start
    return letters


def heard(known: Facts, facts: list[StripeFact]) -> Facts:
    """Return the facts that are known after `facts` have arrived as well."""
    after = dict(known)
    for fact in facts:
        after[fact.stripe_id] = merge(after[fact.stripe_id], fact) if fact.stripe_id in after else fact
    return after


def ends(letters: list[list[StripeFact]], most: int) -> Iterator[Facts]:
    """Yield what is known after each choice of up to `most` letters, in which a letter may come twice, in any order.

    All orders are checked by induction: the orders of a shorter choice lead to one end, and whichever letter then
    comes leads to one end as well.
    """
    known: dict[tuple[int, ...], Facts] = {(): {}}
    for length in range(1, most + 1):
        for choice in itertools.combinations_with_replacement(range(len(letters)), length):
            for last in sorted(set(choice)):
                place = choice.index(last)
                end = heard(known[choice[:place] + choice[place + 1 :]], letters[last])
                assert known.setdefault(choice, end) == end, choice
    yield from known.values()


def check_money(standing: Standing, facts: Facts) -> None:
    """Assert what must hold of a payment's sums, whatever happened to it."""
    sums = standing.amounts
    assert min(sums.received, sums.refunded, sums.lost, sums.refund_pending, sums.waived, sums.on_its_way) >= 0
    assert sums.refunded <= sums.received
    assert sums.lost <= sums.received
    assert sums.owed + sums.on_its_way <= max(sums.due - sums.waived - sums.net, sums.on_its_way)
    assert sums.net == sum(line.amount for line in movements(facts.values()))
    assert not (sums.owed and sums.overpaid)
    assert not (standing.payable and (sums.on_its_way or not sums.owed))


@pytest.mark.parametrize("most", [4, pytest.param(6, marks=pytest.mark.nightly)])
@pytest.mark.parametrize("one_second", [False, True], ids=["a minute apart", "in one second"])
@pytest.mark.parametrize("steps", [CARD, DEBIT_AND_DESK], ids=["card", "debit and desk"])
def test_every_order_of_every_few_events_ends_alike(steps: list[Tell], one_second: bool, most: int) -> None:
    for facts in ends(alphabet(steps, one_second=one_second), most):
        for terms in TERMS.values():
            standing = derive(facts.values(), terms)
            assert standing == derive([facts[name] for name in sorted(facts, reverse=True)], terms)
            check_money(standing, facts)


def states(kind: Kind) -> list[StripeFact]:
    """Return an object of this kind in each state: early and late, with and without what only some events tell."""
    partly: list[dict[str, Any]] = [{}, {"created": 1, "payment_intent_id": "pi_1", "details": {"brand": "visa"}}]
    return [
        StripeFact(kind, "id", status, as_of, **known)
        for rank in RANKS[kind]
        for status in rank
        for as_of in (1, 2)
        for known in partly
    ]


@pytest.mark.parametrize("kind", Kind)
def test_merging_any_three_states_keeps_the_laws(kind: Kind) -> None:
    """Merging is idempotent, commutative and associative."""
    known = states(kind)
    for one in known:
        assert merge(one, one) == one
    for one, other in itertools.product(known, known):
        assert merge(one, other) == merge(other, one)
    for one, two, three in itertools.product(known, known, known):
        assert merge(merge(one, two), three) == merge(one, merge(two, three))
