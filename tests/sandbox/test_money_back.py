"""Tests of refunds and disputes in the sandbox."""

from typing import Any

import pytest
import stripe

from tests.sandbox.stripe_account import Json, Refused, StripeAccount
from tests.waits import wait_until

VISA, REFUND_FAILS, REFUND_PENDING = "4242424242424242", "4000000000005126", "4000000000007726"


def charge_of(account: StripeAccount, paid: Json) -> Any:
    return account.v1.charges.retrieve(paid["payment_intent"]["latest_charge"])


def test_partial_refunds_add_up_on_the_charge(account: StripeAccount) -> None:
    paid = account.paid(1500)
    for amount in (1000, 500):
        account.v1.refunds.create({"payment_intent": paid["payment_intent"]["id"], "amount": amount})
    account.wait_for("refund.created", "refund.updated", "charge.refund.updated")
    wait_until(lambda: account.receiver.types.count("charge.refunded") == 2, "both refunds are told")
    charge = charge_of(account, paid)
    assert (charge.amount_refunded, charge.refunded) == (1500, True)
    assert sorted(found.amount_refunded for found in account.receiver.of("charge.refunded")) == [1000, 1500]


def test_a_refund_without_amount_is_for_what_is_left(account: StripeAccount) -> None:
    charge = account.paid(1500)["payment_intent"]["latest_charge"]
    account.v1.refunds.create({"charge": charge, "amount": 400, "reason": "duplicate", "metadata": {"by": "staff"}})
    rest = account.v1.refunds.create({"charge": charge})
    assert (rest.amount, rest.status) == (1100, "succeeded")


@pytest.mark.parametrize(
    ("given", "code", "message"),
    [
        ({"amount": 6001}, None, "greater than charge amount"),
        ({"amount": 0}, "parameter_invalid_integer", "positive integer"),
        ({"amount": "ten"}, "parameter_invalid_integer", "Invalid integer"),
        ({"reason": "bored"}, None, "Invalid reason"),
        ({"ammount": 5}, "parameter_unknown", "unknown parameter: ammount"),
    ],
)
def test_wrong_refunds_are_refused_in_stripes_words(
    account: StripeAccount, given: Json, code: str | None, message: str
) -> None:
    intent = account.paid()["payment_intent"]["id"]
    with pytest.raises(stripe.InvalidRequestError, match=message) as refused:
        account.v1.refunds.create({"payment_intent": intent, **given})
    assert refused.value.code == code


def test_a_charge_cannot_be_refunded_twice(account: StripeAccount) -> None:
    intent = account.paid()["payment_intent"]["id"]
    account.v1.refunds.create({"payment_intent": intent})
    with pytest.raises(stripe.InvalidRequestError, match="already been refunded") as refused:
        account.v1.refunds.create({"payment_intent": intent})
    assert refused.value.code == "charge_already_refunded"


def test_a_disputed_charge_cannot_be_refunded_but_an_inquiry_can(account: StripeAccount) -> None:
    disputed, asked = account.paid(), account.paid()
    account.control("dispute", session=disputed["session"]["id"])
    account.control("dispute", session=asked["session"]["id"], warning=True)
    with pytest.raises(stripe.InvalidRequestError) as refused:
        account.v1.refunds.create({"payment_intent": disputed["payment_intent"]["id"]})
    assert refused.value.code == "charge_disputed"
    assert account.v1.refunds.create({"payment_intent": asked["payment_intent"]["id"]}).status == "succeeded"


def test_a_refund_that_fails_days_later_gives_the_charge_its_money_back(account: StripeAccount) -> None:
    paid = account.paid()
    refund = account.control("refund", session=paid["session"]["id"])
    assert charge_of(account, paid).refunded
    failed = account.control("refund_status", refund=refund["id"], status="failed")
    assert failed["failure_reason"]
    assert (charge_of(account, paid).amount_refunded, charge_of(account, paid).refunded) == (0, False)
    account.wait_for("refund.failed", "refund.updated", "charge.refund.updated")
    again = account.v1.refunds.create({"payment_intent": paid["payment_intent"]["id"]})
    assert again.status == "succeeded"


@pytest.mark.parametrize(
    ("number", "first", "later"), [(REFUND_PENDING, "pending", "succeeded"), (REFUND_FAILS, "succeeded", "failed")]
)
def test_stripes_refund_cards_change_their_mind(account: StripeAccount, number: str, first: str, later: str) -> None:
    paid = account.paid(card=number)
    refund = account.v1.refunds.create({"payment_intent": paid["payment_intent"]["id"]})
    assert refund.status == first
    account.control("clock", advance=200)
    assert account.v1.refunds.retrieve(refund.id).status == later


def test_a_pending_refund_can_be_canceled_and_a_done_one_cannot(account: StripeAccount) -> None:
    pending = account.control("refund", session=account.paid(card=REFUND_PENDING)["session"]["id"])
    done = account.control("refund", session=account.paid()["session"]["id"])
    assert account.v1.refunds.cancel(pending["id"]).status == "canceled"
    with pytest.raises(stripe.InvalidRequestError, match="cannot cancel"):
        account.v1.refunds.cancel(done["id"])


@pytest.mark.parametrize(
    ("warning", "said", "ends", "moves"),
    [(False, "won", "won", True), (False, "lost", "lost", False), (True, "closed", "warning_closed", False)],
)
def test_a_dispute_ends_as_the_bank_says(
    account: StripeAccount, warning: bool, said: str, ends: str, moves: bool
) -> None:
    dispute = account.control("dispute", session=account.paid()["session"]["id"], warning=warning)
    assert dispute["status"] == ("warning_needs_response" if warning else "needs_response")
    assert bool(dispute["balance_transactions"]) is not warning
    account.control("dispute_status", dispute=dispute["id"], status=said)
    account.wait_for("charge.dispute.created", "charge.dispute.closed")
    assert account.v1.disputes.retrieve(dispute["id"]).status == ends
    if moves:
        account.wait_for("charge.dispute.funds_reinstated")


def test_a_lost_dispute_can_still_be_won_and_shows_both_moves_of_money(account: StripeAccount) -> None:
    dispute = account.control("dispute", session=account.paid()["session"]["id"], amount=2_000)
    account.control("dispute_status", dispute=dispute["id"], status="lost")
    account.control("clock", advance=86_400)
    won = account.control("dispute_status", dispute=dispute["id"], status="won")
    moves = won["balance_transactions"]
    assert (won["status"], [move["amount"] for move in moves]) == ("won", [-2_000, 2_000])
    assert moves[1]["created"] - moves[0]["created"] >= 86_400
    account.wait_for("charge.dispute.funds_withdrawn", "charge.dispute.funds_reinstated")
    wait_until(lambda: len(account.receiver.of("charge.dispute.closed")) == 2, "the dispute is closed twice")
    closed = [found.status for found in account.receiver.of("charge.dispute.closed")]
    assert sorted(closed) == ["lost", "won"]


def test_a_dispute_can_be_in_another_currency_than_its_charge(account: StripeAccount) -> None:
    session = account.paid(5_000, "jpy")["session"]["id"]
    with pytest.raises(Refused, match="needs an amount"):
        account.control("dispute", session=session, currency="usd")
    with pytest.raises(Refused, match="three small letters"):
        account.control("dispute", session=session, currency="USD", amount=3_300)
    dispute = account.control("dispute", session=session, currency="usd", amount=3_300)
    found = account.v1.disputes.retrieve(dispute["id"])
    assert (found.amount, found.currency, found.balance_transactions[0].currency) == (3_300, "usd", "usd")


def test_an_inquiry_has_a_deadline_and_can_become_a_chargeback(account: StripeAccount) -> None:
    paid = account.paid()
    due_by = account.control("clock", offset=0)["now"] + 5 * 86_400
    inquiry = account.control("dispute", session=paid["session"]["id"], warning=True, due_by=due_by)
    assert (inquiry["status"], inquiry["evidence_details"]["due_by"]) == ("warning_needs_response", due_by)
    reviewed = account.control("dispute_status", dispute=inquiry["id"], status="under_review")
    assert (reviewed["status"], reviewed["balance_transactions"]) == ("warning_under_review", [])
    account.v1.refunds.create({"payment_intent": paid["payment_intent"]["id"], "amount": 1_000})
    chargeback = account.control("dispute_status", dispute=inquiry["id"], status="needs_response")
    assert (chargeback["id"], chargeback["status"]) == (inquiry["id"], "needs_response")
    assert [move["amount"] for move in chargeback["balance_transactions"]] == [-6_000]
    account.wait_for("charge.dispute.updated", "charge.dispute.funds_withdrawn")
    with pytest.raises(stripe.InvalidRequestError, match="charged back"):
        account.v1.refunds.create({"payment_intent": paid["payment_intent"]["id"]})
    with pytest.raises(Refused, match="Only an open inquiry can be escalated"):
        account.control("dispute_status", dispute=inquiry["id"], status="needs_response")


def test_a_charge_can_be_disputed_again_once_its_dispute_is_closed(account: StripeAccount) -> None:
    session = account.paid()["session"]["id"]
    inquiry = account.control("dispute", session=session, warning=True)
    with pytest.raises(Refused, match="open dispute already"):
        account.control("dispute", session=session)
    account.control("dispute_status", dispute=inquiry["id"], status="closed")
    assert account.control("dispute", session=session, amount=100)["status"] == "needs_response"


@pytest.mark.parametrize("reason", ["debit_not_authorized", "insufficient_funds"])
def test_a_returned_debit_is_a_dispute_that_is_lost_at_once(account: StripeAccount, reason: str) -> None:
    paid = account.paid(outcome="processing")
    session, intent = paid["session"]["id"], paid["payment_intent"]["id"]
    with pytest.raises(Refused, match="not succeeded"):
        account.control("dispute", session=session)
    account.control("settle", session=session)
    account.control("dispute", session=session, reason=reason)
    account.wait_for("charge.dispute.created", "charge.dispute.funds_withdrawn", "charge.dispute.closed")
    told = [*account.receiver.of("charge.dispute.created"), *account.receiver.of("charge.dispute.closed")]
    assert [(found.status, found.reason, found.amount) for found in told] == [("lost", reason, 6_000)] * 2
    with pytest.raises(stripe.InvalidRequestError) as refused:
        account.v1.refunds.create({"payment_intent": intent})
    assert refused.value.code == "charge_disputed"
    with pytest.raises(Refused, match="already closed"):
        account.control("dispute_status", dispute=told[0].id, status="won")


def test_stripes_iban_for_a_returned_debit_pays_and_is_returned(account: StripeAccount) -> None:
    session = account.paid(iban="FR5720041010050500013M02608")["session"]["id"]
    account.wait_for("checkout.session.async_payment_succeeded", "charge.dispute.created", "charge.dispute.closed")
    assert account.v1.checkout.sessions.retrieve(session).payment_status == "paid"
    assert account.receiver.of("charge.dispute.created")[0].status == "lost"


def test_there_are_no_inquiries_about_bank_debits(account: StripeAccount) -> None:
    session = account.paid(outcome="processing")["session"]["id"]
    account.control("settle", session=session)
    with pytest.raises(Refused, match="no inquiries about bank debits"):
        account.control("dispute", session=session, warning=True)


def test_the_balance_adds_up(account: StripeAccount) -> None:
    paid = account.paid(10_000)
    account.v1.refunds.create({"payment_intent": paid["payment_intent"]["id"], "amount": 2_500})
    account.control("dispute", session=account.paid(4_000)["session"]["id"])
    account.control("clock", advance=600)
    moves = account.v1.balance_transactions.list().data
    assert sorted((move.type, move.amount) for move in moves) == [
        ("adjustment", -4_000),
        ("charge", 4_000),
        ("charge", 10_000),
        ("refund", -2_500),
    ]
    assert all(move.net == move.amount - move.fee for move in moves)


def test_refunds_are_listed_by_their_payment_a_page_at_a_time(account: StripeAccount) -> None:
    intent, other = (account.paid()["payment_intent"]["id"] for _ in range(2))
    made = []
    for number in range(23):
        given: Any = {"payment_intent": intent, "amount": 100, "metadata": {"request_id": f"r_{number}"}}
        made.append(account.v1.refunds.create(given).id)
        account.control("refund", payment_intent=other, amount=100)
    pages: list[int] = []
    after: Json = {}
    while True:
        page = account.v1.refunds.list({"payment_intent": intent, "limit": 10, **after})
        pages.append(len(page.data))
        if not page.has_more:
            break
        after = {"starting_after": page.data[-1].id}
    assert pages == [10, 10, 3]
    found = list(account.v1.refunds.list({"payment_intent": intent, "limit": 7}).auto_paging_iter())
    assert [refund.id for refund in found] == made[::-1]
    assert [refund.metadata["request_id"] for refund in found] == [f"r_{number}" for number in reversed(range(23))]
    assert len(account.v1.refunds.list({"payment_intent": intent}).data) == 10  # as Stripe does without a limit


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"limit": 0}, "between 1 and 100"),
        ({"limit": 101}, "between 1 and 100"),
        ({"starting_after": "re_x"}, "No such"),
    ],
)
def test_an_impossible_page_is_refused(account: StripeAccount, given: Any, words: str) -> None:
    with pytest.raises(stripe.InvalidRequestError, match=words):
        account.v1.refunds.list(given)


def test_a_refunds_metadata_outlives_its_failure(account: StripeAccount) -> None:
    given: Any = {"payment_intent": account.paid()["payment_intent"]["id"], "metadata": {"request_id": "r_1"}}
    refund = account.v1.refunds.create(given)
    account.control("refund_status", refund=refund.id, status="failed")
    account.wait_for("refund.failed")
    assert account.receiver.of("refund.failed")[0].metadata["request_id"] == "r_1"
