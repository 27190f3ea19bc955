"""Tests of the sandbox's balance transactions and payouts, as Stripe's SDK reads them."""

import datetime
from typing import Any

import pytest
import stripe

from tests.sandbox.stripe_account import Json, Refused, StripeAccount
from tests.waits import wait_until

DAY = 86_400
PAYOUT_EVENTS = {
    "reconciled": {"payout.updated", "payout.reconciliation_completed"},
    "paid": {"payout.paid"},
    "failed": {"payout.failed"},
}


@pytest.fixture(autouse=True)
def _long_before_midnight(account: StripeAccount) -> None:
    """Keep the sandbox's clock from passing midnight in UTC, when it makes payouts by itself."""
    account.control("clock", offset=-3_600 * (datetime.datetime.now(datetime.UTC).hour == 23))


def charged(account: StripeAccount, amount: int = 6_000, currency: str = "eur") -> Any:
    """Pay `amount` minor units by card, and return the charge once it has a balance transaction."""
    charge_id = account.paid(amount, currency)["payment_intent"]["latest_charge"]
    account.control("clock", advance=600)
    return account.v1.charges.retrieve(charge_id, {"expand": ["balance_transaction"]})


def rows(account: StripeAccount, payout: Json, **more: Any) -> list[Any]:
    return list(account.v1.balance_transactions.list({"payout": payout["id"], **more}).auto_paging_iter())


def pay_out(account: StripeAccount) -> Json:
    """Make an automatic payout of everything on the balance, and return the payout once its rows can be listed."""
    (payout,) = account.control("payout")["data"]
    return account.control("payout_status", payout=payout["id"], status="reconciled")


def test_a_charge_has_its_balance_transaction_only_seconds_later(account: StripeAccount) -> None:
    charge_id = account.paid()["payment_intent"]["latest_charge"]
    account.wait_for("charge.succeeded")
    assert account.receiver.of("charge.succeeded")[0].balance_transaction is None
    assert account.v1.charges.retrieve(charge_id).balance_transaction is None
    account.control("clock", advance=600)
    account.wait_for("charge.updated")
    (updated,) = account.receiver.of("charge.updated")
    row = account.v1.balance_transactions.retrieve(updated.balance_transaction)
    assert (row.source, row.amount, row.fee, row.net, row.currency) == (charge_id, 6_000, 115, 5_885, "eur")
    assert (row.type, row.reporting_category, row.status) == ("charge", "charge", "pending")
    assert row.available_on == row.created + 2 * DAY


def test_each_move_of_money_has_a_reporting_category(account: StripeAccount) -> None:
    paid = account.paid(10_000)
    refund = account.control("refund", session=paid["session"]["id"], amount=2_500)
    account.control("refund_status", refund=refund["id"], status="failed")
    dispute = account.control("dispute", session=paid["session"]["id"], amount=1_000)
    account.control("dispute_status", dispute=dispute["id"], status="won")
    debit = account.paid(outcome="processing")
    account.control("settle", session=debit["session"]["id"])
    account.control("clock", advance=600)
    found = {(row.reporting_category, row.type): (row.amount, row.fee) for row in rows_of_all(account)}
    assert found == {
        ("charge", "charge"): (10_000, 175),
        ("charge", "payment"): (6_000, 115),
        ("refund", "refund"): (-2_500, 0),
        ("refund_failure", "refund_failure"): (2_500, 0),
        ("dispute", "adjustment"): (-1_000, 2_000),
        ("dispute_reversal", "adjustment"): (1_000, 0),
    }


def rows_of_all(account: StripeAccount) -> list[Any]:
    return list(account.v1.balance_transactions.list({"limit": 100}).data)


def test_yen_become_euros_on_the_balance(account: StripeAccount) -> None:
    row = charged(account, 8_000, "jpy").balance_transaction
    assert (row.amount, row.currency, row.exchange_rate) == (4_960, "eur", 0.62)
    assert charged(account, 8_000, "chf").balance_transaction.currency == "chf"


def test_an_automatic_payout_lists_its_rows_and_its_own_so_that_they_sum_up_to_zero(account: StripeAccount) -> None:
    charge = charged(account, 10_000)
    account.control("refund", charge=charge.id, amount=2_500)
    payout = pay_out(account)
    assert (payout["amount"], payout["automatic"], payout["status"]) == (10_000 - 175 - 2_500, True, "pending")
    found = rows(account, payout)
    assert sorted(row.reporting_category for row in found) == ["charge", "payout", "refund"]
    assert sum(row.net for row in found) == 0
    (own,) = [row for row in found if row.id == payout["balance_transaction"]]
    assert (own.source, own.amount, own.type) == (payout["id"], -payout["amount"], "payout")
    assert "payout" not in account.get(f"balance_transactions/{own.id}")  # a row doesn't name its payout
    charged(account)
    assert len(rows(account, payout)) == 3  # a later charge belongs to the next payout


def test_its_list_is_incomplete_until_the_reconciliation_is_completed(account: StripeAccount) -> None:
    for _ in range(3):
        charged(account)
    (payout,) = account.control("payout")["data"]
    assert payout["reconciliation_status"] == "in_progress"
    assert len(rows(account, payout)) < 4
    account.control("clock", advance=600)
    assert len(rows(account, payout)) == 4
    assert len(rows(account, payout, limit=3)) == 4  # in two pages
    assert account.v1.payouts.retrieve(payout["id"]).reconciliation_status == "completed"
    account.wait_for("payout.created", *PAYOUT_EVENTS["reconciled"])
    with pytest.raises(Refused, match="reconciliation is completed"):
        account.control("payout_status", payout=payout["id"], status="reconciled")


def test_what_is_available_is_paid_out_each_day_and_arrives_the_next(account: StripeAccount) -> None:
    charged(account)
    account.control("clock", advance=DAY)
    assert account.v1.payouts.list().data == []  # a charge is available after two days
    account.control("clock", advance=2 * DAY)
    (payout,) = account.v1.payouts.list({"status": "pending"}).data
    assert (payout.amount, payout.arrival_date % DAY) == (5_885, 0)
    account.control("clock", advance=DAY)
    assert [found.status for found in account.v1.payouts.list().data] == ["paid"]
    account.wait_for("payout.created", "payout.reconciliation_completed", "payout.paid")


def test_a_payout_can_fail_after_it_was_paid_and_comes_back_in_the_next(account: StripeAccount) -> None:
    charged(account)
    failed = pay_out(account)
    for status in ("in_transit", "paid"):
        account.control("payout_status", payout=failed["id"], status=status)
    failed = account.control("payout_status", payout=failed["id"], status="failed")
    account.wait_for("payout.paid", "payout.failed")
    assert (failed["status"], failed["failure_code"]) == ("failed", "account_closed")
    returned = account.v1.balance_transactions.retrieve(failed["failure_balance_transaction"])
    assert (returned.source, returned.net) == (failed["id"], failed["amount"])
    assert (returned.type, returned.reporting_category) == ("payout_failure", "payout_reversal")
    charged(account, 10_000)
    following = pay_out(account)
    assert following["amount"] == failed["amount"] + 10_000 - 175
    assert returned.id in [row.id for row in rows(account, following)]
    assert returned.id not in [row.id for row in rows(account, failed)]
    with pytest.raises(Refused, match="failed can't become paid"):
        account.control("payout_status", payout=failed["id"], status="paid")


def test_a_negative_payout_takes_money_from_the_bank(account: StripeAccount) -> None:
    charge = charged(account)
    pay_out(account)
    account.control("refund", charge=charge.id)
    payout = pay_out(account)
    assert payout["amount"] == -6_000
    own = account.v1.balance_transactions.retrieve(payout["balance_transaction"])
    assert own.net == 6_000
    assert account.control("payout")["data"] == []  # nothing is left


def test_a_manual_payout_cannot_be_listed_and_is_a_row_of_the_next_automatic_one(account: StripeAccount) -> None:
    charged(account, 10_000)
    with pytest.raises(stripe.InvalidRequestError, match="insufficient funds") as refused:
        account.v1.payouts.create({"amount": 5_000, "currency": "eur"})
    assert refused.value.code == "balance_insufficient"
    instant = account.control("payout", amount=1_000, instant=True)["data"][0]  # makes the rest available too
    made = account.v1.payouts.create({"amount": 5_000, "currency": "eur", "metadata": {"for": "rent"}})
    assert (made.automatic, made.reconciliation_status, made.status) == (False, "not_applicable", "pending")
    with pytest.raises(stripe.InvalidRequestError, match="only be filtered on automatic"):
        account.v1.balance_transactions.list({"payout": made.id})
    own = account.v1.balance_transactions.retrieve(instant["balance_transaction"])
    assert (instant["method"], own.amount, own.fee, own.net) == ("instant", -1_000, 10, -1_010)
    payout = pay_out(account)
    assert payout["amount"] == 10_000 - 175 - 5_000 - 1_010
    assert {made.balance_transaction, own.id} < {row.id for row in rows(account, payout)}


def test_a_manual_payout_can_be_canceled_while_it_is_pending(account: StripeAccount) -> None:
    charged(account)
    made = account.control("payout", amount=1_000)["data"][0]
    canceled = account.v1.payouts.cancel(made["id"])
    assert canceled.status == "canceled"
    returned = account.v1.balance_transactions.retrieve(canceled.failure_balance_transaction)
    assert (returned.type, returned.net) == ("payout_cancel", 1_000)
    account.wait_for("payout.canceled")
    with pytest.raises(stripe.InvalidRequestError, match="while they are pending"):
        account.v1.payouts.cancel(made["id"])


def test_each_currency_has_payouts_and_a_bank_account_of_its_own(account: StripeAccount) -> None:
    charged(account)
    charged(account, 4_000, "chf")
    account.control("payout")
    found = account.v1.payouts.list({"expand": ["data.destination"]}).data
    assert {payout.currency: payout.destination.currency for payout in found} == {"eur": "eur", "chf": "chf"}
    assert {payout.currency: len(payout.destination.last4) for payout in found} == {"eur": 4, "chf": 4}


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"currency": "eur"}, "parameter_missing"),
        ({"amount": 100}, "parameter_missing"),
        ({"amount": -1, "currency": "eur"}, "parameter_invalid_integer"),
        ({"amount": 1, "currency": "eur", "speed": "high"}, "parameter_unknown"),
    ],
)
def test_wrong_payouts_are_refused(account: StripeAccount, given: Any, code: str) -> None:
    with pytest.raises(stripe.InvalidRequestError) as refused:
        account.v1.payouts.create(given)
    assert refused.value.code == code


def test_a_payout_s_metadata_can_be_changed(account: StripeAccount) -> None:
    charged(account)
    payout = pay_out(account)
    account.v1.payouts.update(payout["id"], {"metadata": {"booked": "yes"}})
    assert account.v1.payouts.retrieve(payout["id"]).metadata.to_dict() == {"booked": "yes"}
    wait_until(lambda: account.receiver.types.count("payout.updated") == 2, "the change is told")
