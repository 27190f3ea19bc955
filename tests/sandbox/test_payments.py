"""Tests of payments in the sandbox: paid, declined, 3-D Secure and bank debits, with the events that Stripe sends."""

from email.utils import parsedate_to_datetime

import pytest
import stripe

from tests.sandbox.stripe_account import Refused, StripeAccount
from tests.waits import wait_until


def test_a_paid_session_tells_the_site_in_stripes_four_events(account: StripeAccount) -> None:
    answer = account.paid()
    session, intent = answer["session"], answer["payment_intent"]
    assert (session["status"], session["payment_status"], session["url"]) == ("complete", "paid", None)
    assert (intent["status"], intent["amount_received"]) == ("succeeded", 6000)
    account.wait_for(
        "payment_intent.created", "charge.succeeded", "payment_intent.succeeded", "checkout.session.completed"
    )
    assert sorted(account.receiver.types) == [
        "charge.succeeded",
        "checkout.session.completed",
        "payment_intent.created",
        "payment_intent.succeeded",
    ]


def test_a_new_session_has_no_intent_until_somebody_pays(account: StripeAccount) -> None:
    session = account.session()
    assert session.payment_intent is None
    assert session.url == f"{account.url}/c/pay/{session.id}"
    assert account.v1.events.list().data == []


def test_a_charge_carries_its_intents_metadata_and_the_session_its_own(account: StripeAccount) -> None:
    session = account.session(metadata={"of": "session"}, payment_intent_data={"metadata": {"of": "intent"}})
    account.control("pay", session=session.id)
    charge = account.v1.charges.list().data[0]
    assert charge.metadata.to_dict() == {"of": "intent"}
    assert account.v1.checkout.sessions.retrieve(session.id).metadata.to_dict() == {"of": "session"}


def test_events_keep_the_object_as_it_was_at_that_moment(account: StripeAccount) -> None:
    account.paid()
    account.wait_for("payment_intent.created", "payment_intent.succeeded")
    assert account.receiver.of("payment_intent.created")[0].status == "requires_payment_method"
    assert account.receiver.of("payment_intent.succeeded")[0].status == "succeeded"


@pytest.mark.parametrize(
    ("number", "code", "decline_code"),
    [
        ("4000 0000 0000 0002", "card_declined", "generic_decline"),
        ("4000 0000 0000 9995", "card_declined", "insufficient_funds"),
        ("4000 0000 0000 0069", "expired_card", "expired_card"),
        ("4000 0000 0000 0127", "incorrect_cvc", "incorrect_cvc"),
        ("5105 1051 0510 5101", "card_declined", "test_mode_live_card"),
    ],
)
def test_a_decline_leaves_the_session_open(account: StripeAccount, number: str, code: str, decline_code: str) -> None:
    answer = account.paid(card=number)
    assert (answer["error"]["code"], answer["error"]["decline_code"]) == (code, decline_code)
    assert answer["session"]["status"] == "open"
    assert answer["payment_intent"]["last_payment_error"]["code"] == code
    account.wait_for("charge.failed", "payment_intent.payment_failed")


def test_a_declined_card_then_a_good_one_is_one_intent_with_two_charges(account: StripeAccount) -> None:
    session = account.session()
    declined = account.control("pay", session=session.id, outcome="declined")
    paid = account.control("pay", session=session.id)
    assert paid["payment_intent"]["id"] == declined["payment_intent"]["id"]
    assert [charge.status for charge in account.v1.charges.list().data] == ["succeeded", "failed"]


def test_a_session_cannot_be_paid_twice(account: StripeAccount) -> None:
    session = account.paid()["session"]
    with pytest.raises(Refused, match="complete"):
        account.control("pay", session=session["id"])


def test_three_d_secure_waits_for_the_bank(account: StripeAccount) -> None:
    asked = account.paid(card="4000002760003184")
    assert asked["payment_intent"]["status"] == "requires_action"
    assert asked["session"]["status"] == "open"
    refused = account.control("authenticate", session=asked["session"]["id"], success=False)
    assert refused["error"]["code"] == "payment_intent_authentication_failure"
    account.control("pay", session=asked["session"]["id"], card="4000002760003184")
    done = account.control("authenticate", session=asked["session"]["id"])
    assert done["session"]["payment_status"] == "paid"
    account.wait_for("payment_intent.requires_action", "payment_intent.payment_failed", "payment_intent.succeeded")


@pytest.mark.parametrize(
    ("iban", "payment_status", "event_type"),
    [
        ("FR1420041010050500013M02606", "paid", "checkout.session.async_payment_succeeded"),
        ("FR8420041010050500013M02607", "unpaid", "checkout.session.async_payment_failed"),
    ],
)
def test_a_bank_debit_is_unpaid_until_the_bank_answers(
    account: StripeAccount, iban: str, payment_status: str, event_type: str
) -> None:
    answer = account.paid(iban=iban)
    assert answer["payment_intent"]["status"] == "processing"
    assert (answer["session"]["status"], answer["session"]["payment_status"]) == ("complete", "unpaid")
    account.wait_for("charge.pending", "payment_intent.processing", "checkout.session.completed", event_type)
    assert account.receiver.of("checkout.session.completed")[0].payment_status == "unpaid"
    assert account.v1.checkout.sessions.retrieve(answer["session"]["id"]).payment_status == payment_status


def test_a_slow_debit_settles_when_the_clock_gets_there_and_any_other_when_told(account: StripeAccount) -> None:
    slow = account.paid(iban="FR3020041010050500013M02609")
    held = account.paid(outcome="processing")
    account.control("clock", advance=181)
    account.control("settle", session=held["session"]["id"], success=False)
    intents = account.v1.payment_intents
    assert intents.retrieve(slow["payment_intent"]["id"]).status == "succeeded"
    assert intents.retrieve(held["payment_intent"]["id"]).status == "requires_payment_method"


def test_a_session_expires_when_its_time_comes(account: StripeAccount) -> None:
    session = account.session()
    account.control("clock", advance=86_401)
    account.wait_for("checkout.session.expired")
    found = account.v1.checkout.sessions.retrieve(session.id)
    assert (found.status, found.url) == ("expired", None)


def test_expiring_a_session_cancels_its_intent_and_only_an_open_one_can_be(account: StripeAccount) -> None:
    declined = account.paid(outcome="declined")
    account.v1.checkout.sessions.expire(declined["session"]["id"])
    intent = account.v1.payment_intents.retrieve(declined["payment_intent"]["id"])
    assert (intent.status, intent.cancellation_reason) == ("canceled", "expired")
    with pytest.raises(Exception, match="can be expired"):
        account.v1.checkout.sessions.expire(declined["session"]["id"])


def test_the_clock_moves_what_stripe_says_was_created(account: StripeAccount) -> None:
    now = account.control("clock", offset=0)["now"]
    account.control("clock", offset=-86_400)
    yesterday = account.paid()["session"]
    account.control("clock", offset=0)
    today = account.session()
    assert 0 <= yesterday["created"] - (now - 86_400) < 600
    assert [found.id for found in account.v1.checkout.sessions.list().data] == [today.id, yesterday["id"]]


@pytest.mark.parametrize("offset", [-86_400, 0, 3_600])
def test_every_answer_is_dated_by_stripes_clock(account: StripeAccount, offset: int) -> None:
    now = account.control("clock", offset=offset)["now"]
    intents = account.v1.payment_intents
    made = intents.create({"amount": 500, "currency": "eur"})
    with pytest.raises(stripe.InvalidRequestError) as refused:
        intents.retrieve("pi_none")
    for headers in (made.last_response.headers, refused.value.headers):
        assert headers
        # 600 seconds, because the parameters move the clock by an hour or more.
        assert 0 <= parsedate_to_datetime(headers["Date"]).timestamp() - now < 600


@pytest.mark.parametrize(("currency", "amount"), [("jpy", 5000), ("kwd", 12_340), ("xof", 12_000)])
def test_amounts_are_minor_units_of_any_currency(account: StripeAccount, currency: str, amount: int) -> None:
    intent = account.paid(amount, currency)["payment_intent"]
    assert (intent["amount_received"], intent["currency"]) == (amount, currency)


def test_nothing_to_pay_needs_no_intent(account: StripeAccount) -> None:
    session = account.paid(0)["session"]
    assert (session["status"], session["payment_status"]) == ("complete", "no_payment_required")
    assert session["payment_intent"] is None


def test_too_small_an_amount_is_refused(account: StripeAccount) -> None:
    with pytest.raises(Exception, match="must add up to at least") as refused:
        account.session(49)
    assert refused.value.code == "amount_too_small"  # type: ignore[attr-defined]


def test_a_disputed_card_pays_and_is_disputed(account: StripeAccount) -> None:
    account.paid(card="4000000000000259")
    account.wait_for("checkout.session.completed", "charge.dispute.created", "charge.dispute.funds_withdrawn")
    wait_until(lambda: account.v1.charges.list().data[0].disputed, "the charge is disputed")
