"""Tests of cards that the sandbox keeps for later: Checkout in setup mode, customers, and payments off session."""

import re
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest
import stripe

from tests.sandbox.stripe_account import StripeAccount

CONSENT = "I agree that at most 30.00 is charged."
ALWAYS_ASKS, ASKS_ONCE, NEVER_PAYS = "4000002760003184", "4000002500003155", "4000000000000341"


@pytest.fixture
def customer(account: StripeAccount) -> str:
    return str(account.v1.customers.create().id)


@pytest.fixture
def setup(account: StripeAccount, customer: str) -> Any:
    """Return a Checkout Session in setup mode."""
    return account.v1.checkout.sessions.create(
        {
            "mode": "setup",
            "currency": "eur",
            "customer": customer,
            "payment_method_types": ["card"],
            "success_url": "http://127.0.0.1:1/done",
            "custom_text": {"submit": {"message": CONSENT}},
            "setup_intent_data": {"metadata": {"payment_id": "p_1"}},
        }
    )


@pytest.fixture
def keep(account: StripeAccount, setup: Any) -> Callable[..., str]:
    """Return a function that keeps a card through Checkout and returns the PaymentMethod's id."""

    def keep(card: str = "4242424242424242") -> str:
        account.control("pay", session=setup.id, card=card)
        if account.get(f"setup_intents/{setup.setup_intent}")["status"] == "requires_action":
            account.control("authenticate", session=setup.id)
        return str(account.get(f"setup_intents/{setup.setup_intent}")["payment_method"])

    return keep


def charge(account: StripeAccount, customer: str, method: str, key: str = "", **more: Any) -> Any:
    """Charge 30.00 to a kept card while the customer is absent."""
    params = {"amount": 3000, "currency": "eur", "customer": customer, "payment_method": method, "confirm": True}
    options: Any = {"idempotency_key": key} if key else {}
    return account.v1.payment_intents.create(
        params | {"off_session": True, "error_on_requires_action": True} | more, options
    )


def test_checkout_in_setup_mode_keeps_a_card_and_charges_nothing(
    account: StripeAccount, setup: Any, customer: str, keep: Callable[..., str]
) -> None:
    assert (setup.amount_total, setup.payment_status, setup.payment_intent) == (None, "no_payment_required", None)
    method = account.get(f"payment_methods/{keep()}")
    assert (method["customer"], method["card"]["brand"], method["card"]["last4"]) == (customer, "visa", "4242")
    intent = account.get(f"setup_intents/{setup.setup_intent}")
    assert (intent["status"], intent["metadata"], intent["usage"]) == (
        "succeeded",
        {"payment_id": "p_1"},
        "off_session",
    )
    account.wait_for("setup_intent.succeeded", "payment_method.attached", "checkout.session.completed")
    assert account.v1.charges.list().data == []


def test_the_hosted_page_shows_the_consent_and_no_amount(account: StripeAccount, setup: Any) -> None:
    page = urllib.request.urlopen(setup.url, timeout=60).read().decode()
    assert CONSENT in page
    assert "Nothing is charged now." in page
    assert not re.search(r"Pay Clinique du Parc|€", page)


def test_a_card_that_is_declined_at_setup_is_not_kept(account: StripeAccount, setup: Any) -> None:
    answer = account.control("pay", session=setup.id, card="4000000000000002")
    assert (answer["error"]["code"], answer["session"]["status"]) == ("card_declined", "open")
    account.wait_for("setup_intent.setup_failed")
    intent = account.receiver.of("setup_intent.setup_failed")[0]
    assert (intent.status, intent.last_setup_error.decline_code) == ("requires_payment_method", "generic_decline")


def test_a_refused_3d_secure_at_setup_keeps_no_card(account: StripeAccount, setup: Any) -> None:
    account.control("pay", session=setup.id, card=ASKS_ONCE)
    answer = account.control("authenticate", session=setup.id, success=False)
    assert answer["error"]["code"] == "setup_intent_authentication_failure"
    account.wait_for("setup_intent.setup_failed")


def test_an_expired_setup_page_cancels_its_intent(account: StripeAccount, setup: Any) -> None:
    account.v1.checkout.sessions.expire(setup.id)
    assert account.get(f"setup_intents/{setup.setup_intent}")["status"] == "canceled"


@pytest.mark.parametrize("card", ["4242424242424242", ASKS_ONCE])
def test_a_kept_card_is_charged_while_the_customer_is_absent(
    account: StripeAccount, customer: str, keep: Callable[..., str], card: str
) -> None:
    intent = charge(account, customer, keep(card))
    assert (intent.status, intent.amount_received, intent.customer) == ("succeeded", 3000, customer)


@pytest.mark.parametrize(
    ("card", "code", "decline_code"),
    [
        (ALWAYS_ASKS, "authentication_required", "authentication_required"),
        (NEVER_PAYS, "card_declined", "generic_decline"),
        ("4000008260003178", "card_declined", "insufficient_funds"),
    ],
)
def test_a_decline_off_session_leaves_an_intent_that_can_be_canceled(
    account: StripeAccount, customer: str, keep: Callable[..., str], card: str, code: str, decline_code: str
) -> None:
    with pytest.raises(stripe.CardError) as declined:
        charge(account, customer, keep(card))
    assert declined.value.code == code
    assert declined.value.error is not None
    assert declined.value.error.decline_code == decline_code
    left = account.v1.payment_intents.list({"customer": customer}).data[0]
    assert (left.status, left.last_payment_error.code) == ("requires_payment_method", code)
    assert account.v1.payment_intents.cancel(left.id).status == "canceled"


def test_the_stored_decline_comes_back_for_the_same_key_only(
    account: StripeAccount, customer: str, keep: Callable[..., str]
) -> None:
    refused, good = keep(NEVER_PAYS), str(account.v1.payment_methods.attach("pm_card_visa", {"customer": customer}).id)
    for _ in range(2):
        with pytest.raises(stripe.CardError):
            charge(account, customer, refused, "once")
    assert len(account.v1.payment_intents.list().data) == 1
    assert charge(account, customer, good, "twice").status == "succeeded"


def test_setup_future_usage_keeps_the_card_of_a_payment(account: StripeAccount, customer: str) -> None:
    data = {"setup_future_usage": "off_session", "metadata": {"payment": "p_1"}}
    session = account.session(customer=customer, payment_method_types=["card"], payment_intent_data=data)
    account.control("pay", session=session.id)
    intent = account.v1.payment_intents.list().data[0]
    assert (intent.status, intent.setup_future_usage) == ("succeeded", "off_session")
    assert account.get(f"payment_methods/{intent.payment_method}")["customer"] == customer
    assert charge(account, customer, intent.payment_method).status == "succeeded"


def test_a_detached_card_can_never_be_charged_again(
    account: StripeAccount, customer: str, keep: Callable[..., str]
) -> None:
    method = keep()
    assert account.get(f"customers/{customer}/payment_methods")["data"][0]["id"] == method
    assert account.v1.payment_methods.detach(method).customer is None
    account.wait_for("payment_method.detached")
    with pytest.raises(stripe.InvalidRequestError):
        charge(account, customer, method)
    with pytest.raises(stripe.InvalidRequestError):
        account.v1.payment_methods.detach(method)


def test_a_kept_card_cannot_be_charged_without_its_customer(
    account: StripeAccount, customer: str, keep: Callable[..., str]
) -> None:
    other = account.v1.customers.create().id
    with pytest.raises(stripe.InvalidRequestError, match="attached to a customer"):
        charge(account, other, keep())


def test_a_customer_and_an_e_mail_address_exclude_each_other(account: StripeAccount, customer: str) -> None:
    with pytest.raises(stripe.InvalidRequestError, match="only specify one"):
        account.session(customer=customer, customer_email="camille@example.com")
