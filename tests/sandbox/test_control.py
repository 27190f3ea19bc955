"""Tests that the sandbox's control API answers a wrong body with status 400 and a message that names the wrong key."""

import json
import urllib.error
import urllib.request
from typing import Any

import pytest

from tests.sandbox.stripe_account import Json, Refused, StripeAccount
from tests.waits import wait_until


@pytest.mark.parametrize(
    ("act", "body", "words"),
    [
        ("pay", {"session": "{session}", "outcome": "maybe"}, "outcome is one of paid, declined"),
        ("pay", {"session": 5}, "session is a string"),
        ("settle", {"session": "{session}", "success": "no"}, "success is true or false"),
        ("refund", {"session": "{session}", "ammount": 5}, "ammount is unknown here; the keys are session"),
        ("refund", {"session": "{session}", "amount": "ten"}, "amount is a whole number above zero"),
        ("refund", {"session": "{session}", "amount": True}, "amount is a whole number above zero"),
        ("refund", {"session": "{session}", "reason": "bored"}, "reason is one of duplicate"),
        ("dispute", {"session": "{session}", "amount": 0}, "amount is a whole number above zero"),
        ("dispute_status", {"dispute": "du_none", "status": "won"}, "No such dispute: 'du_none'"),
        ("status", {"object": "{session}"}, "status is missing"),
        ("status", {"object": "evt_1", "status": "quantum"}, "No such session, intent, charge"),
        ("status", {"object": "{session}", "status": "quantum", "event": "!"}, "event is an event type"),
        ("clock", {"advance": "tomorrow"}, "advance is a number"),
        ("clock", {"offset": float("inf")}, "offset is a number"),
        ("delivery", {"mode": "delay", "types": "charge.succeeded"}, "types is a list of strings"),
        ("webhook_endpoints", {"url": "ftp://example.com/"}, "Invalid URL"),
        ("reset", {"endpoints": "yes"}, "endpoints is true or false"),
    ],
)
def test_a_wrong_body_is_refused(account: StripeAccount, act: str, body: Json, words: str) -> None:
    session = account.paid()["session"]["id"]
    given = {key: session if value == "{session}" else value for key, value in body.items()}
    with pytest.raises(Refused, match=words) as refused:
        account.control(act, **given)
    assert refused.value.status == 400


@pytest.mark.parametrize("body", [b"[]", b'"x"', b"{", b"\xff"])
def test_a_body_that_is_no_json_object_is_refused(account: StripeAccount, body: bytes) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"{account.url}/_sandbox/reset", body, timeout=60)
    answer: Any = json.load(refused.value)
    assert (refused.value.code, bool(answer["error"]["message"])) == (400, True)


def test_a_wrong_limit_of_deliveries_is_refused(account: StripeAccount) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        account.deliveries(limit="many")
    assert refused.value.code == 400


def test_a_payment_without_a_charge_cannot_be_refunded(account: StripeAccount) -> None:
    intent = account.v1.payment_intents.create({"amount": 500, "currency": "eur"})
    with pytest.raises(Refused, match="no charge yet"):
        account.control("refund", payment_intent=intent.id)


@pytest.mark.parametrize(
    ("kind", "path", "event"),
    [
        ("session", "checkout/sessions", "checkout.session.completed"),
        ("payment_intent", "payment_intents", "payment_intent.processing"),
        ("charge", "charges", "charge.updated"),
        ("refund", "refunds", "refund.updated"),
        ("dispute", "disputes", "charge.dispute.updated"),
    ],
)
def test_an_object_can_have_a_status_that_nobody_knows(
    account: StripeAccount, kind: str, path: str, event: str
) -> None:
    paid = account.paid()
    ids = {
        "session": paid["session"]["id"],
        "payment_intent": paid["payment_intent"]["id"],
        "charge": paid["payment_intent"]["latest_charge"],
        "refund": account.control("refund", session=paid["session"]["id"], amount=100)["id"],
        "dispute": account.control("dispute", session=paid["session"]["id"], warning=True)["id"],
    }
    account.control("status", object=ids[kind], status="quantum")
    assert account.get(f"{path}/{ids[kind]}")["status"] == "quantum"
    assert account.get(f"{path}?limit=1")["data"][0]["status"] == "quantum"
    wait_until(lambda: "quantum" in [found.status for found in account.receiver.of(event)], "an event tells of it")
    with urllib.request.urlopen(f"{account.url}/_sandbox/", timeout=60) as page:
        assert page.status == 200
    told = len(account.v1.events.list({"limit": 100}).data)
    account.control("status", object=ids[kind], status="succeeded", event="")
    assert len(account.v1.events.list({"limit": 100}).data) == told


def test_a_session_can_have_a_payment_status_that_nobody_knows(account: StripeAccount) -> None:
    session = account.session()
    found = account.control("status", object=session.id, status="open", payment_status="escrowed")
    assert (found["status"], found["payment_status"]) == ("open", "escrowed")
    account.wait_for("checkout.session.completed")
    assert account.receiver.of("checkout.session.completed")[0].payment_status == "escrowed"
