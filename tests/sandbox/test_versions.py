"""Tests that the sandbox answers requests, and sends and lists events, as earlier versions of Stripe's API do."""

import json
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
import stripe

from stripe_sandbox import API_VERSION
from tests.sandbox.stripe_account import KEY, SECRET, Json, Receiver, Refused, StripeAccount, receiving, running
from tests.sandbox.stripe_cli import StripeCli
from tests.waits import wait_until

BEFORE_DAHLIA, BEFORE_BASIL = "2026-02-25.clover", "2025-02-24.acacia"
BEFORE_REFUND_EVENTS, BEFORE_SHORT_CHARGES = "2024-09-30.acacia", "2022-08-01"


@pytest.fixture
def old(account: StripeAccount) -> Iterator[Receiver]:
    """Yield a second webhook receiver, whose API version is too old for refund.* events about refunds of charges."""
    with receiving(Receiver()) as receiver:
        account.control("webhook_endpoints", url=receiver.url, secret=SECRET, api_version=BEFORE_REFUND_EVENTS)
        yield receiver


def get(account: StripeAccount, path: str, version: str) -> Json:
    headers = {"Authorization": f"Bearer {KEY}", "Stripe-Version": version}
    request = urllib.request.Request(f"{account.url}/v1/{path}", headers=headers)
    with urllib.request.urlopen(request, timeout=60) as answer:
        assert answer.headers["Stripe-Version"] == version
        found: Json = json.load(answer)
        return found


def test_an_old_endpoint_hears_of_card_refunds_through_the_charge_alone(account: StripeAccount, old: Receiver) -> None:
    paid = account.paid()
    refund = account.v1.refunds.create({"payment_intent": paid["payment_intent"]["id"], "amount": 1_000})
    account.control("refund", session=paid["session"]["id"], amount=4_000)
    account.control("refund_status", refund=refund.id, status="failed")
    account.wait_for("refund.created", "refund.updated", "refund.failed")
    wait_until(lambda: old.types.count("charge.refund.updated") == 3, "the endpoint hears of both refunds")
    assert [event_type for event_type in old.types if event_type.startswith("refund.")] == []
    assert sorted(found.amount_refunded for found in old.of("charge.refunded")) == [1_000, 5_000]
    assert {event.api_version for event in old.events} == {BEFORE_REFUND_EVENTS}
    assert {event.api_version for event in account.receiver.events} == {API_VERSION}


def test_a_very_old_endpoint_gets_refunds_and_charges_included(account: StripeAccount, old: Receiver) -> None:
    account.control("webhook_endpoints", url=old.url, api_version=BEFORE_SHORT_CHARGES)
    account.control("delivery", mode="hold")
    session = account.paid()["session"]["id"]
    for amount in (1_000, 500):
        account.control("refund", session=session, amount=amount)
    account.control("delivery", mode="normal")
    account.wait_for("charge.refunded")
    wait_until(lambda: {"payment_intent.succeeded", "charge.refunded"} <= set(old.types), "the endpoint hears of it")
    wait_until(lambda: old.types.count("charge.refunded") == 2, "the endpoint hears of both refunds")
    charges = sorted(old.of("charge.refunded"), key=lambda charge: charge.amount_refunded)
    told = [[refund.amount for refund in charge.refunds.data] for charge in charges]
    assert told == [[1_000], [500, 1_000]]  # as they were at that moment, although both were delivered later
    intent = old.of("payment_intent.succeeded")[0]
    assert [charge.amount for charge in intent.charges.data] == [6_000]
    assert "refunds" not in account.receiver.of("charge.refunded")[0]


def test_a_request_is_answered_in_its_own_version(account: StripeAccount) -> None:
    paid = account.paid()
    session = f"checkout/sessions/{paid['session']['id']}"
    charge = f"charges/{paid['payment_intent']['latest_charge']}"
    assert [get(account, session, version)["ui_mode"] for version in (API_VERSION, BEFORE_DAHLIA)] == [
        "hosted_page",
        "hosted",
    ]
    assert ["invoice" in get(account, charge, version) for version in (BEFORE_DAHLIA, BEFORE_BASIL)] == [False, True]
    assert "shipping_details" in get(account, session, BEFORE_BASIL)
    expanded = get(account, f"{session}?expand[]=payment_intent.latest_charge", BEFORE_SHORT_CHARGES)["payment_intent"]
    assert expanded["latest_charge"]["refunds"]["data"] == []
    assert [found["invoice"] for found in expanded["charges"]["data"]] == [None]
    listed = get(account, "charges?limit=1", BEFORE_SHORT_CHARGES)["data"][0]
    assert listed["refunds"]["url"] == f"/v1/{charge}/refunds"


def test_the_accounts_version_holds_where_none_is_named(account: StripeAccount) -> None:
    account.control("account", api_version=BEFORE_REFUND_EVENTS)
    session = account.paid()["session"]["id"]
    account.control("refund", session=session)
    account.wait_for("charge.refunded", "charge.refund.updated")
    assert "invoice" in account.get("charges?limit=1")["data"][0]  # a request without Stripe-Version
    listed = account.get("events?limit=100")["data"]
    assert {event["api_version"] for event in listed} == {BEFORE_REFUND_EVENTS}
    assert [event["type"] for event in listed if event["type"].startswith("refund.")] == []
    account.control("account", api_version=API_VERSION)
    charged = next(event for event in listed if event["type"] == "charge.succeeded")
    assert account.get(f"events/{charged['id']}") == charged  # an event keeps the version in which it was made
    account.control("reset")
    account.control("account", api_version=BEFORE_BASIL)
    account.control("reset")
    with urllib.request.urlopen(f"{account.url}/_sandbox/state", timeout=60) as answer:
        assert json.load(answer)["api_version"] == API_VERSION


def test_an_endpoint_of_the_api_has_a_version_too(account: StripeAccount) -> None:
    endpoints = account.v1.webhook_endpoints
    given: Any = {"url": "http://127.0.0.1:9/", "enabled_events": ["*"], "api_version": BEFORE_BASIL}
    made = endpoints.create(given)
    assert endpoints.retrieve(made.id).api_version == BEFORE_BASIL
    with pytest.raises(stripe.InvalidRequestError, match="Invalid Stripe API version: basil") as refused:
        endpoints.create(given | {"api_version": "basil"})
    assert refused.value.param == "api_version"


@pytest.mark.parametrize(("act", "more"), [("account", {}), ("webhook_endpoints", {"url": "http://127.0.0.1:9/"})])
def test_a_version_that_is_none_is_refused(account: StripeAccount, act: str, more: Json) -> None:
    with pytest.raises(Refused, match="Invalid Stripe API version: basil") as refused:
        account.control(act, api_version="basil", **more)
    assert refused.value.status == 400


def test_an_account_can_start_with_an_old_version() -> None:
    with running("--api-version", BEFORE_BASIL) as url, receiving(Receiver()) as receiver:
        account = StripeAccount(url, receiver)
        account.control("webhook_endpoints", url=receiver.url, secret=SECRET)
        account.paid()
        account.wait_for("charge.succeeded")
        assert receiver.events[0].api_version == BEFORE_BASIL


@pytest.mark.parametrize(("options", "version"), [((), BEFORE_BASIL), (("--latest",), API_VERSION)])
def test_listen_gets_the_accounts_version_or_the_newest(
    account: StripeAccount, cli: StripeCli, options: tuple[str, ...], version: str
) -> None:
    account.control("account", api_version=BEFORE_BASIL)
    with receiving(Receiver(cli.secret())) as receiver, cli.listening(receiver.url, *options):
        account.paid()
        wait_until(lambda: len(receiver.events) == 4, "four events are forwarded")
    assert {event.api_version for event in receiver.events} == {version}
