"""Tests of which payment a fact (the state of a Stripe object or a desk entry) belongs to, and of facts that wait."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import pytest

from accounts.models import User
from payments import ledger
from payments.domain.facts import Kind, StripeFact
from payments.gateway.event_types import from_event
from payments.ledger import Cause, Ledger, Recorded
from payments.linking import LockedRows
from payments.models import EventReceipt, Fact, JournalLine, Payment, StatusChange
from payments.models.installation import own_site_id
from tests.payments.stripe_story import Event, Story, deliver

pytestmark = pytest.mark.django_db
Book = Callable[..., Payment]
Outcome = EventReceipt.Outcome
HEARD = Cause(StatusChange.Source.WEBHOOK)


def fact(kind: Kind, stripe_id: str, status: str = "succeeded", at: int = 1000, **fields: Any) -> StripeFact:
    """Return the state of a Stripe object about 50,00 €, which was made and seen at `at` (Unix seconds)."""
    known: dict[str, Any] = {"created": at, "amount": 5000, "currency": "eur"} | fields
    return StripeFact(kind=kind, stripe_id=stripe_id, status=status, as_of=at, **known)


def charge(payment: Payment | None = None, **fields: Any) -> StripeFact:
    """Return a paid charge, which names this payment in its metadata."""
    named = str(payment.public_id) if payment else ""
    return fact(Kind.CHARGE, "ch_1", payment_id=named, charge_id="ch_1", payment_intent_id="pi_1", **fields)


def record(*facts: StripeFact, actor: User | None = None) -> Recorded:
    return ledger.record(facts, Cause(StatusChange.Source.WEBHOOK, actor=actor))


def held() -> dict[str, UUID | None]:
    """Return the public id of the payment of each stored fact, by the fact's id; None: it waits."""
    return dict(Fact.objects.values_list("stripe_id", "payment__public_id"))


# Which payment it is


def test_the_payment_that_a_fact_names_comes_before_one_with_the_same_objects(book: Book) -> None:
    first, second = book(), book()
    record(charge(first))
    refund = fact(Kind.REFUND, "re_1", charge_id="ch_1", payment_id=str(second.public_id))
    assert record(refund).payment == second
    assert held() == {"ch_1": first.public_id, "re_1": second.public_id}


@pytest.mark.parametrize("link", [{"charge_id": "ch_1"}, {"payment_intent_id": "pi_1"}], ids=str)
def test_a_fact_that_names_no_payment_has_that_of_its_stripe_objects(book: Book, link: dict[str, Any]) -> None:
    first, _other = book(), book()
    assert record(charge(first)).outcome == Outcome.APPLIED
    recorded = record(fact(Kind.REFUND, "re_1", **link))
    assert (recorded.payment, recorded.outcome) == (first, Outcome.APPLIED)
    assert record(fact(Kind.DISPUTE, "du_1", "needs_response", **link)).payment == first


def test_a_fact_that_names_a_payment_that_is_unknown_has_that_of_its_stripe_objects(payment: Payment) -> None:
    record(charge(payment))
    refund = fact(Kind.REFUND, "re_1", charge_id="ch_1", payment_id=str(uuid4()))
    assert record(refund).payment == payment


def test_an_object_of_two_payments_stays_with_the_first(book: Book) -> None:
    first, second = book(), book()
    record(charge(first))
    record(fact(Kind.REFUND, "re_1", at=2000, charge_id="ch_1", payment_id=str(second.public_id)))
    assert record(fact(Kind.DISPUTE, "du_1", "lost", at=3000, charge_id="ch_1")).payment == first


def test_several_facts_of_one_event_are_about_the_payment_that_one_of_them_names(payment: Payment) -> None:
    refund = fact(Kind.REFUND, "re_1", charge_id="ch_9")
    assert record(refund, charge(payment)).payment == payment
    assert held() == {"ch_1": payment.public_id, "re_1": payment.public_id}


# Facts that wait


def test_what_cannot_be_about_a_payment_of_ours_is_dropped(payment: Payment) -> None:
    recorded = record(charge(), fact(Kind.INTENT, "pi_1", payment_intent_id="pi_1"))
    assert (recorded.outcome, recorded.payment, recorded.change) == (Outcome.IGNORED_FOREIGN, None, None)
    assert held() == {}


@pytest.mark.parametrize("kind", [Kind.REFUND, Kind.DISPUTE])
def test_a_refund_or_dispute_waits_with_what_came_with_it(payment: Payment, clerk: User, kind: Kind) -> None:
    status = "succeeded" if kind == Kind.REFUND else "lost"
    recorded = record(charge(), fact(kind, "re_1", status, charge_id="ch_1"), actor=clerk)
    assert (recorded.outcome, recorded.payment, recorded.change) == (Outcome.DEFERRED, None, None)
    assert held() == {"ch_1": None, "re_1": None}
    assert {row.actor for row in Fact.objects.all()} == {clerk}


def test_what_names_a_payment_waits_for_it(payment: Payment) -> None:
    unknown = uuid4()
    assert record(fact(Kind.CHARGE, "ch_9", payment_id=str(unknown))).outcome == Outcome.DEFERRED
    assert Fact.objects.get().claimed_payment == unknown


def test_a_later_state_of_what_waits_is_kept_and_an_older_one_is_not(payment: Payment) -> None:
    record(fact(Kind.REFUND, "re_1", "pending"))
    record(fact(Kind.REFUND, "re_1", "succeeded", at=2000))
    record(fact(Kind.REFUND, "re_1", "pending", at=1500))
    assert (Fact.objects.get().status, Fact.objects.get().payment) == ("succeeded", None)


def test_what_waits_is_found_by_its_objects_and_the_rest_goes_on_waiting(payment: Payment) -> None:
    record(fact(Kind.REFUND, "re_1", charge_id="ch_1"))
    record(fact(Kind.REFUND, "re_2", payment_intent_id="pi_1"))
    record(fact(Kind.REFUND, "re_3", charge_id="ch_3"))
    assert record(charge(payment)).payment == payment
    assert held() == {"ch_1": payment.public_id, "re_1": payment.public_id, "re_2": payment.public_id, "re_3": None}
    payment.refresh_from_db()
    assert payment.amount_refunded == 5000


def test_what_waits_is_found_by_the_payment_that_it_names(payment: Payment) -> None:
    """It waited because the payment didn't exist yet, which a made-up id stands for here."""
    record(fact(Kind.REFUND, "re_1", payment_id=str(uuid4())))
    Fact.objects.update(claimed_payment=payment.public_id)
    assert record(charge(payment)).outcome == Outcome.APPLIED
    assert held()["re_1"] == payment.public_id


def test_what_waited_links_what_comes_next(payment: Payment) -> None:
    """A waiting refund brings the id of an intent, by which a dispute in the same event finds the payment."""
    record(fact(Kind.REFUND, "re_1", charge_id="ch_1", payment_intent_id="pi_7"))
    dispute = fact(Kind.DISPUTE, "du_1", "lost", payment_intent_id="pi_7")
    rows = LockedRows([charge(payment), dispute])
    rows.absorb([charge(payment)], rows.payments[str(payment.public_id)])
    assert rows.find_payment([dispute]) == payment


def test_a_fact_links_what_comes_next_in_its_transaction(payment: Payment) -> None:
    refund = fact(Kind.REFUND, "re_1", at=2000, charge_id="ch_1")
    together = Ledger(LockedRows([charge(payment), refund]))
    assert together.record([charge(payment)], HEARD).payment == payment
    assert together.record([refund], HEARD).payment == payment


# Receipts of events


def settled(event: Event) -> tuple[str, Payment | None]:
    receipt = EventReceipt.objects.get(stripe_event_id=event["id"])
    assert receipt.settled_at is not None
    return receipt.outcome, receipt.payment


def test_the_event_that_brought_what_waited_is_applied_then(story: Story) -> None:
    refund, stranger, charged = story.refund(1000), story.refund(1000, attempt="B"), story.charged()
    for event in (refund, stranger):
        assert deliver(event).content == b"deferred"
    ignored = story._event("product.created", {"id": refund["data"]["object"]["id"]})
    deliver(ignored)
    assert deliver(charged).content == b"applied"
    assert settled(refund) == ("applied", story.payment)
    assert settled(stranger) == ("deferred", None)
    assert settled(ignored) == ("ignored_type", None)


def test_each_waiting_event_is_settled_with_its_own_payment(book: Book) -> None:
    stories = [Story(book(), site=own_site_id()) for _ in range(2)]
    refunds = [story.refund(1000) for story in stories]
    assert [deliver(event).content for event in refunds] == [b"deferred"] * 2
    told = [from_event(story.charged()) for story in stories]
    together = Ledger(LockedRows([each for facts in told for each in facts]))
    for facts in told:
        together.record(facts, HEARD)
    together.write()
    assert [settled(event) for event in refunds] == [("applied", story.payment) for story in stories]


def test_an_event_waits_on_while_another_that_came_with_it_is_applied(book: Book) -> None:
    known, unknown = (Story(book(), site=own_site_id()) for _ in range(2))
    refunds = [story.refund(1000) for story in (known, unknown)]
    for event in refunds:
        deliver(event)
    told = [from_event(known.charged()), from_event(unknown.dispute("lost"))]
    together = Ledger(LockedRows([each for facts in told for each in facts]))
    outcomes = [together.record(facts, HEARD).outcome for facts in told]
    together.write()
    assert outcomes == [Outcome.APPLIED, Outcome.DEFERRED]
    assert [settled(event) for event in refunds] == [("applied", known.payment), ("deferred", None)]


def test_an_event_has_one_receipt_which_counts_its_deliveries(story: Story) -> None:
    event = story.completed()
    for _ in range(3):
        assert deliver(event).status_code == 200
    receipt = EventReceipt.objects.get()
    assert (receipt.stripe_event_id, receipt.deliveries) == (event["id"], 3)
    assert (receipt.type, receipt.livemode) == ("checkout.session.completed", False)
    assert (receipt.stripe_created, receipt.outcome) == (event["created"], "applied")


# What is stored


def test_a_state_that_is_known_is_not_written_again(payment: Payment, clerk: User) -> None:
    record(charge(payment), actor=clerk)
    rows = LockedRows([charge(payment)])
    (found,) = rows.absorb([charge(payment, at=900)], rows.payments[str(payment.public_id)])
    assert (found.created, found.actor) == (900, clerk)
    assert [statement.idle for statement in rows.writes()[:2]] == [True, False]
    rows = LockedRows([charge(payment)])
    rows.absorb([charge(payment)], rows.payments[str(payment.public_id)])
    assert all(statement.idle for statement in rows.writes())


def test_all_facts_of_a_payment_are_returned_and_no_others(book: Book) -> None:
    first, second = book(), book()
    record(charge(first))
    other = fact(Kind.SESSION, "cs_2", "paid", payment_id=str(second.public_id))
    rows = LockedRows([charge(first), other])
    refund = fact(Kind.REFUND, "re_1", charge_id="ch_1")
    assert {row.stripe_id for row in rows.absorb([refund], rows.payments[str(first.public_id)])} == {"ch_1", "re_1"}
    assert [row.stripe_id for row in rows.absorb([other], rows.payments[str(second.public_id)])] == ["cs_2"]


def test_payments_can_be_locked_by_their_ids_alone(book: Book) -> None:
    first, _second = book(), book()
    record(charge(first))
    rows = LockedRows((), payments=[first.public_id])
    assert list(rows.payments.values()) == [first]
    assert [row.stripe_id for row in rows.absorb((), first)] == ["ch_1"]


def journal() -> list[tuple[Any, ...]]:
    return list(JournalLine.objects.order_by("number").values_list("number", "amount", "fact_id", "pk"))


def test_the_journals_lines_are_replaced_when_they_are_others_and_only_then(payment: Payment) -> None:
    record(fact(Kind.SESSION, "cs_1", "paid", payment_id=str(payment.public_id), payment_intent_id="pi_1"))
    assert [line[:3] for line in journal()] == [(0, 5000, "cs_1")]
    before = journal()
    record(fact(Kind.DISPUTE, "du_1", "needs_response", payment_intent_id="pi_1"))
    assert journal() == before
    record(charge(payment), fact(Kind.REFUND, "re_1", at=2000, amount=1000, charge_id="ch_1"))
    assert [line[:3] for line in journal()] == [(0, 5000, "ch_1"), (1, -1000, "re_1")]
    assert {line[3] for line in journal()}.isdisjoint(line[3] for line in before)
    ahead = journal()
    record(charge(payment, at=1001))
    assert journal() == ahead


def test_the_journal_of_one_payment_is_not_that_of_another(book: Book) -> None:
    first, second = book(), book()
    record(charge(first))
    kept = JournalLine.objects.get()
    paid = fact(Kind.SESSION, "cs_2", "paid", payment_id=str(second.public_id))
    together = Ledger(LockedRows([paid], payments=[first.public_id]))
    assert together.record([paid], HEARD).outcome == Outcome.APPLIED
    together.write()
    assert JournalLine.objects.get(payment=first) == kept
    assert JournalLine.objects.get(payment=second).fact_id == "cs_2"


def test_the_journals_of_two_payments_change_in_one_transaction(book: Book) -> None:
    payments = [book(), book()]
    told = [
        [
            replace(charge(payment), stripe_id=f"ch_{n}", charge_id=f"ch_{n}", payment_intent_id=f"pi_{n}"),
            fact(Kind.REFUND, f"re_{n}", at=2000, amount=1000, charge_id=f"ch_{n}"),
        ]
        for n, payment in enumerate(payments)
    ]
    for charged, _ in told:
        record(charged)
    together = Ledger(LockedRows([each for facts in told for each in facts]))
    for facts in told:
        together.record(facts, HEARD)
    together.write()
    for n, payment in enumerate(payments):
        rows = JournalLine.objects.filter(payment=payment).order_by("number")
        lines: list[tuple[Any, ...]] = list(rows.values_list("amount", "fact_id"))
        assert lines == [(5000, f"ch_{n}"), (-1000, f"re_{n}")]


def test_a_lines_maker_is_who_made_the_entry(payment: Payment, clerk: User) -> None:
    entry = payment.own_fact(Kind.OFFLINE, "offline_1", "cash", 5000)
    record(entry, actor=clerk)
    assert JournalLine.objects.get().actor == clerk
