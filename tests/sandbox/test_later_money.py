"""Tests of payments whose money comes later: authorized first and captured by hand, or paid by voucher or transfer."""

import urllib.error
import urllib.request
from typing import Any

import pytest
import stripe

from tests.sandbox.stripe_account import Json, Refused, StripeAccount

MANUAL = {"capture_method": "manual"}


def authorized(account: StripeAccount) -> Json:
    """Authorize a payment that is to be captured by hand; return the control API's {session, payment_intent, error}."""
    return account.control("pay", session=account.session(payment_intent_data=MANUAL).id)


def charge_of(account: StripeAccount, paid: Json) -> Any:
    return account.v1.charges.retrieve(paid["payment_intent"]["latest_charge"])


def test_an_authorized_payment_has_a_charge_that_is_not_captured(account: StripeAccount) -> None:
    paid = authorized(account)
    intent, session = paid["payment_intent"], paid["session"]
    assert (intent["status"], intent["amount_capturable"], intent["amount_received"]) == ("requires_capture", 6_000, 0)
    assert (session["status"], session["payment_status"]) == ("complete", "unpaid")
    charge = charge_of(account, paid)
    assert (charge.status, charge.captured, charge.amount_captured) == ("succeeded", False, 0)
    assert charge.balance_transaction is None
    account.wait_for("charge.succeeded", "payment_intent.amount_capturable_updated", "checkout.session.completed")
    assert "payment_intent.succeeded" not in account.receiver.types
    with pytest.raises(stripe.InvalidRequestError, match="does not have a successful charge"):
        account.v1.refunds.create({"payment_intent": intent["id"]})
    with pytest.raises(Refused, match="not succeeded"):
        account.control("dispute", session=session["id"])


@pytest.mark.parametrize(("given", "taken"), [({}, 6_000), ({"amount_to_capture": 4_000}, 4_000)])
def test_it_is_captured_whole_or_in_part(account: StripeAccount, given: Any, taken: int) -> None:
    paid = authorized(account)
    intent = account.v1.payment_intents.capture(paid["payment_intent"]["id"], given)
    assert (intent.status, intent.amount_received, intent.amount_capturable) == ("succeeded", taken, 0)
    charge = charge_of(account, paid)
    assert (charge.captured, charge.amount_captured, charge.amount_refunded) == (True, taken, 0)
    account.wait_for("charge.captured", "payment_intent.succeeded")
    assert account.v1.checkout.sessions.retrieve(paid["session"]["id"]).payment_status == "paid"
    assert account.v1.balance_transactions.list({"type": "charge"}).data[0].amount == taken
    assert account.v1.refunds.list().data == []
    assert account.v1.refunds.create({"payment_intent": intent.id}).amount == taken
    assert charge_of(account, paid).refunded


def test_what_is_not_authorized_cannot_be_captured(account: StripeAccount) -> None:
    intents, intent = account.v1.payment_intents, authorized(account)["payment_intent"]["id"]
    with pytest.raises(stripe.InvalidRequestError, match="greater than the capturable amount") as refused:
        intents.capture(intent, {"amount_to_capture": 6_001})
    assert refused.value.code == "amount_too_large"
    intents.capture(intent)
    with pytest.raises(stripe.InvalidRequestError, match="status of succeeded"):
        intents.capture(intent)


@pytest.mark.parametrize("how", ["canceled", "told", "in time"])
def test_an_authorization_that_ends_moves_no_money(account: StripeAccount, how: str) -> None:
    paid = authorized(account)
    intent = paid["payment_intent"]["id"]
    if how == "canceled":
        account.v1.payment_intents.cancel(intent, {"cancellation_reason": "requested_by_customer"})
    elif how == "told":
        account.control("expire", payment_intent=intent)
    else:
        account.control("clock", advance=7 * 86_400 + 1)
    account.wait_for("payment_intent.canceled", *(() if how == "canceled" else ("charge.expired",)))
    ended = account.v1.payment_intents.retrieve(intent)
    assert (ended.status, ended.amount_capturable) == ("canceled", 0)
    assert ended.cancellation_reason == ("requested_by_customer" if how == "canceled" else "expired")
    assert (charge_of(account, paid).captured, charge_of(account, paid).amount_refunded) == (False, 0)


def test_an_intent_of_the_api_can_be_captured_by_hand_too(account: StripeAccount) -> None:
    given: Any = {"amount": 500, "currency": "eur", "confirm": True, "payment_method": "pm_card_visa", **MANUAL}
    intent = account.v1.payment_intents.create(given)
    assert intent.status == "requires_capture"
    assert account.control("capture", payment_intent=intent.id, amount=300)["amount_received"] == 300


KINDS = [
    ("multibanco", "multibanco_display_details", "hosted_voucher_url"),
    ("bank_transfer", "display_bank_transfer_instructions", "hosted_instructions_url"),
]


@pytest.mark.parametrize(("outcome", "action", "url"), KINDS)
def test_a_voucher_or_transfer_is_complete_and_unpaid_until_money_comes(
    account: StripeAccount, outcome: str, action: str, url: str
) -> None:
    paid = account.paid(outcome=outcome)
    session, intent = paid["session"], paid["payment_intent"]
    assert (session["status"], session["payment_status"]) == ("complete", "unpaid")
    assert (intent["status"], intent["next_action"]["type"], intent["latest_charge"]) == (
        "requires_action",
        action,
        None,
    )
    account.wait_for("payment_intent.requires_action", "checkout.session.completed")
    details = intent["next_action"][action]
    with urllib.request.urlopen(details[url], timeout=60) as page:
        html = page.read().decode()
    assert details["reference"] in html
    assert "€60.00" in html
    account.control("settle", session=session["id"])
    account.wait_for("charge.succeeded", "payment_intent.succeeded", "checkout.session.async_payment_succeeded")
    assert account.v1.checkout.sessions.retrieve(session["id"]).payment_status == "paid"
    with pytest.raises(urllib.error.HTTPError):
        urllib.request.urlopen(details[url], timeout=60)
    assert account.v1.refunds.create({"payment_intent": intent["id"], "amount": 100}).status == "pending"


@pytest.mark.parametrize("how", ["settle", "expire", "clock"])
def test_a_voucher_that_nobody_pays_expires(account: StripeAccount, how: str) -> None:
    session = account.paid(outcome="multibanco")["session"]["id"]
    body = {"settle": {"session": session, "success": False}, "expire": {"session": session}}
    account.control(how, **body.get(how, {"advance": 7 * 86_400 + 1}))
    account.wait_for("payment_intent.payment_failed", "checkout.session.async_payment_failed")
    failed = account.receiver.of("payment_intent.payment_failed")[0]
    assert failed.status == "requires_payment_method"
    assert failed.last_payment_error.code == "payment_intent_payment_attempt_expired"
    assert account.v1.charges.list().data == []
    with pytest.raises(Refused):
        account.control("settle", session=session)


def test_a_voucher_is_no_three_d_secure_step_and_needs_euros(account: StripeAccount) -> None:
    session = account.paid(outcome="multibanco")["session"]["id"]
    with pytest.raises(Refused, match="cannot authenticate"):
        account.control("authenticate", session=session)
    with pytest.raises(Refused, match="bank_transfer is for sessions in eur"):
        account.paid(5_000, "jpy", outcome="bank_transfer")


def test_an_intent_with_nothing_on_its_way_cannot_expire(account: StripeAccount) -> None:
    with pytest.raises(Refused, match="nothing that can expire"):
        account.control("expire", payment_intent=account.paid()["payment_intent"]["id"])


def test_the_control_page_offers_what_can_happen_next(account: StripeAccount) -> None:
    account.paid(outcome="bank_transfer")
    authorized(account)
    with urllib.request.urlopen(f"{account.url}/_sandbox/", timeout=60) as page:
        html = page.read().decode()
    for words in ("Money arrives", "Never paid", "Capture", "Let it expire", "authorized"):
        assert words in html
