"""Tests of refunds and disputes in the sandbox."""

from typing import Any

import pytest
import stripe

from tests.sandbox.stripe_account import Json, StripeAccount
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


def test_a_lost_dispute_can_still_be_won(account: StripeAccount) -> None:
    dispute = account.control("dispute", session=account.paid()["session"]["id"])
    account.control("dispute_status", dispute=dispute["id"], status="lost")
    assert account.control("dispute_status", dispute=dispute["id"], status="won")["status"] == "won"


def test_the_balance_adds_up(account: StripeAccount) -> None:
    paid = account.paid(10_000)
    account.v1.refunds.create({"payment_intent": paid["payment_intent"]["id"], "amount": 2_500})
    account.control("dispute", session=account.paid(4_000)["session"]["id"])
    moves = account.v1.balance_transactions.list().data
    assert sorted((move.type, move.amount) for move in moves) == [
        ("adjustment", -4_000),
        ("charge", 4_000),
        ("charge", 10_000),
        ("refund", -2_500),
    ]
    assert all(move.net == move.amount - move.fee for move in moves)
