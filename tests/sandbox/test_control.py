"""Tests that the control API refuses a wrong body with status 400 and a message that names the key."""

import json
import urllib.error
import urllib.request
from typing import Any

import pytest

from tests.sandbox.stripe_account import Json, Refused, StripeAccount


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
