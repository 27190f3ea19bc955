"""Tests of the sandbox's API in general: keys, errors, lists, expansion, idempotency and injected faults."""

import asyncio
import base64
import json
import time
import urllib.error
import urllib.request
from typing import Any

import pytest
import stripe

from tests.sandbox.stripe_account import KEY, Json, Refused, StripeAccount, running


def get(url: str, authorization: str | None = None) -> tuple[int, Json]:
    headers = {"Authorization": authorization} if authorization else {}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def basic(key: str) -> str:
    return "Basic " + base64.b64encode(f"{key}:".encode()).decode()


@pytest.mark.parametrize("authorization", [f"Bearer {KEY}", basic(KEY), "Bearer rk_test_" + "b" * 24])
def test_test_keys_are_taken(account: StripeAccount, authorization: str) -> None:
    status, found = get(f"{account.url}/v1/account", authorization)
    assert (status, found["object"], found["business_profile"]["name"]) == (200, "account", "Clinique du Parc")


@pytest.mark.parametrize(
    "authorization", [None, "Bearer sk_live_" + "a" * 24, "Bearer pk_test_x", "Basic ???", "Bearer "]
)
def test_everything_else_is_401_in_stripes_shape(account: StripeAccount, authorization: str | None) -> None:
    status, answer = get(f"{account.url}/v1/account", authorization)
    assert (status, answer["error"]["type"]) == (401, "invalid_request_error")
    assert "aaaaaaaa" not in answer["error"]["message"]


def test_one_key_only_when_it_was_named() -> None:
    with running("--api-key", KEY) as url:
        assert get(f"{url}/v1/account", f"Bearer {KEY}")[0] == 200
        assert get(f"{url}/v1/account", "Bearer sk_test_other")[0] == 401


def test_what_does_not_exist_is_resource_missing(account: StripeAccount) -> None:
    with pytest.raises(stripe.InvalidRequestError, match="No such payment_intent: 'pi_none'") as missing:
        account.v1.payment_intents.retrieve("pi_none")
    assert (missing.value.http_status, missing.value.code, missing.value.param) == (404, "resource_missing", "id")
    status, answer = get(f"{account.url}/v1/unicorns", f"Bearer {KEY}")
    assert (status, answer["error"]["type"]) == (404, "invalid_request_error")


@pytest.mark.parametrize(
    ("change", "code", "param"),
    [
        ({"success_url": ""}, "parameter_missing", "success_url"),
        ({"line_items": []}, "parameter_missing", "line_items"),
        ({"line_items": [{"price": "price_none", "quantity": 1}]}, "resource_missing", "line_items[0][price]"),
        ({"success_urll": "http://x/"}, "parameter_unknown", "success_urll"),
        ({"cancel_url": "javascript:alert(1)"}, "url_invalid", "cancel_url"),
        ({"expires_at": 1}, None, "expires_at"),
        ({"metadata": {"k" * 41: "v"}}, None, f"metadata[{'k' * 41}]"),
    ],
)
def test_wrong_sessions_are_refused(account: StripeAccount, change: Json, code: str | None, param: str) -> None:
    with pytest.raises(stripe.InvalidRequestError) as refused:
        account.session(**change)
    assert (refused.value.http_status, refused.value.code, refused.value.param) == (400, code, param)


def test_lists_come_newest_first_a_page_at_a_time(account: StripeAccount) -> None:
    made = [account.session().id for _ in range(5)]
    sessions = account.v1.checkout.sessions
    first = sessions.list({"limit": 2})
    assert ([found.id for found in first.data], first.has_more) == ([made[4], made[3]], True)
    second = sessions.list({"limit": 2, "starting_after": made[3]})
    assert [found.id for found in second.data] == [made[2], made[1]]
    back = sessions.list({"limit": 2, "ending_before": made[1]})
    assert [found.id for found in back.data] == [made[3], made[2]]
    assert [found.id for found in sessions.list({"limit": 2}).auto_paging_iter()] == made[::-1]
    with pytest.raises(stripe.InvalidRequestError, match="between 1 and 100"):
        sessions.list({"limit": 101})


def test_events_are_found_by_type_time_and_delivery(account: StripeAccount) -> None:
    account.control("clock", offset=-300)
    account.control("delivery", mode="drop")
    account.paid()
    account.control("clock", offset=0)
    account.control("delivery", mode="normal")
    since = int(time.time()) - 60
    account.paid()
    account.wait_for("checkout.session.completed", "payment_intent.succeeded", "charge.succeeded")

    def types(**wanted: Any) -> list[str]:
        return [event.type for event in account.v1.events.list({"limit": 100, **wanted}).auto_paging_iter()]

    assert len(types()) == 8
    assert types(types=["charge.succeeded"]) == ["charge.succeeded"] * 2
    assert types(type="checkout.*") == ["checkout.session.completed"] * 2
    assert len(types(created={"gte": since})) == 4
    assert len(types(created={"lt": since}, delivery_success=False)) == 4
    assert types(created={"lt": since}, delivery_success=True) == []


def test_sessions_are_found_by_their_intent(account: StripeAccount) -> None:
    paid, _ = account.paid(), account.paid()
    found = account.v1.checkout.sessions.list({"payment_intent": paid["payment_intent"]["id"]})
    assert [session.id for session in found.data] == [paid["session"]["id"]]


def test_expand_turns_ids_into_objects_as_deep_as_asked(account: StripeAccount) -> None:
    session_id = account.paid()["session"]["id"]
    account.control("clock", advance=600)
    paths = ["payment_intent.latest_charge.balance_transaction", "line_items"]
    session = account.v1.checkout.sessions.retrieve(session_id, {"expand": paths})
    assert session.payment_intent.latest_charge.balance_transaction.amount == 6000
    assert session.line_items.data[0].description == "Consultation"
    charges = account.v1.charges.list({"expand": ["data.refunds"]}).data
    assert charges[0].refunds.data == []
    assert isinstance(account.v1.checkout.sessions.retrieve(session_id).payment_intent, str)
    with pytest.raises(stripe.InvalidRequestError, match="cannot be expanded"):
        account.v1.checkout.sessions.retrieve(session_id, {"expand": ["amount_total"]})


def test_the_same_idempotency_key_answers_the_same(account: StripeAccount) -> None:
    intent, options = account.paid()["payment_intent"]["id"], {"idempotency_key": "refund-1"}
    first = account.v1.refunds.create({"payment_intent": intent, "amount": 100}, options)
    again = account.v1.refunds.create({"payment_intent": intent, "amount": 100}, options)
    assert (again.id, again.last_response.headers["Idempotent-Replayed"]) == (first.id, "true")
    with pytest.raises(stripe.IdempotencyError, match="same parameters"):
        account.v1.refunds.create({"payment_intent": intent, "amount": 200}, options)
    account.wait_for("refund.created")
    assert {event["request"]["idempotency_key"] for event in account.receiver.events} == {None, "refund-1"}


@pytest.mark.parametrize(("hours", "refunds"), [(23, 1), (25, 2)])
def test_an_idempotency_key_is_forgotten_after_a_day(account: StripeAccount, hours: int, refunds: int) -> None:
    intent, options = account.paid()["payment_intent"]["id"], {"idempotency_key": "refund-late"}
    for _ in range(2):
        account.v1.refunds.create({"payment_intent": intent, "amount": 100}, options)
        account.control("clock", advance=hours * 3_600)
    assert len(account.v1.refunds.list().data) == refunds


def test_a_refused_request_does_not_use_up_its_key(account: StripeAccount) -> None:
    intent, options = account.paid()["payment_intent"]["id"], {"idempotency_key": "refund-2"}
    with pytest.raises(stripe.InvalidRequestError):
        account.v1.refunds.create({"payment_intent": intent, "amount": 99_999}, options)
    assert account.v1.refunds.create({"payment_intent": intent, "amount": 1}, options).status == "succeeded"


@pytest.mark.parametrize(
    ("mode", "error"),
    [
        ("error500", stripe.APIError),
        ("401", stripe.AuthenticationError),
        ("403", stripe.PermissionError),
        ("409", stripe.APIError),
        ("429", stripe.RateLimitError),
        ("lock_timeout", stripe.RateLimitError),
        ("down", stripe.APIConnectionError),
    ],
)
def test_the_api_fails_as_told_and_then_works_again(
    account: StripeAccount, mode: str, error: type[stripe.StripeError]
) -> None:
    account.control("api", mode=mode, count=1)
    with pytest.raises(error):
        account.v1.accounts.retrieve_current()
    assert account.v1.accounts.retrieve_current().id


def test_an_answer_can_get_lost_after_the_work_is_done(account: StripeAccount) -> None:
    intent, options = account.paid()["payment_intent"]["id"], {"idempotency_key": "refund-3"}
    account.control("api", mode="timeout", seconds=0.2, match="/v1/refunds", count=1, processed=True)
    with pytest.raises(stripe.APIConnectionError):
        account.v1.refunds.create({"payment_intent": intent}, options)
    assert [refund.amount for refund in account.v1.refunds.list().data] == [6000]
    assert account.v1.refunds.create({"payment_intent": intent}, options).amount == 6000
    assert len(account.v1.refunds.list().data) == 1


@pytest.mark.parametrize(
    ("mode", "status", "code"),
    [("409", 409, "idempotency_key_in_use"), ("429", 429, "rate_limit"), ("lock_timeout", 429, "lock_timeout")],
)
def test_a_busy_api_says_why_and_when_to_come_back(account: StripeAccount, mode: str, status: int, code: str) -> None:
    account.control("api", mode=mode, count=1, retry_after=3)
    with pytest.raises(stripe.StripeError) as refused:
        account.v1.accounts.retrieve_current()
    answer: Any = refused.value.json_body
    assert (refused.value.http_status, answer["error"]["code"]) == (status, code)
    assert {name.lower(): value for name, value in (refused.value.headers or {}).items()}["retry-after"] == "3"


def test_a_fault_can_be_for_one_method_and_path(account: StripeAccount) -> None:
    intent = account.paid()["payment_intent"]["id"]
    account.control("api", mode="403", method="POST", match="/v1/refunds", count=2)
    assert account.v1.refunds.list().data == []
    assert account.session().id
    for _ in range(2):
        with pytest.raises(stripe.PermissionError, match="required permissions"):
            account.v1.refunds.create({"payment_intent": intent})
    assert account.v1.refunds.create({"payment_intent": intent}).status == "succeeded"


def test_the_webhooks_can_get_lost_with_the_answer(account: StripeAccount) -> None:
    intent = account.paid()["payment_intent"]["id"]
    account.wait_for("checkout.session.completed")
    account.control("api", mode="down", match="/v1/refunds", count=1, processed=True, drop_webhooks=True)
    with pytest.raises(stripe.APIConnectionError):
        account.v1.refunds.create({"payment_intent": intent, "metadata": {"request": "r_1"}})
    assert [refund.metadata["request"] for refund in account.v1.refunds.list().data] == ["r_1"]
    assert {found["state"] for found in account.deliveries(type="refund.created")} == {"dropped"}
    account.control("refund", payment_intent=account.paid()["payment_intent"]["id"])
    account.wait_for("refund.created")
    assert account.receiver.types.count("refund.created") == 1


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"mode": "418"}, "mode is one of ok, error500"),
        ({"mode": "429", "count": "two"}, "count is a whole number"),
        ({"mode": "429", "retry_after": -1}, "retry_after is a number of seconds"),
        ({"mode": "timeout", "seconds": None}, "seconds is a number"),
        ({"mode": "401", "method": "BREW"}, "method is GET, POST or DELETE"),
        ({"mode": "down", "processed": 1}, "true or false"),
        ({"mode": "down", "drop_webhooks": True}, "drop_webhooks needs processed"),
    ],
)
def test_an_impossible_fault_is_refused(account: StripeAccount, body: Json, words: str) -> None:
    with pytest.raises(Refused, match=words) as refused:
        account.control("api", **body)
    assert refused.value.status == 400


def test_metadata_is_merged_and_emptied_as_stripe_does(account: StripeAccount) -> None:
    session = account.session(metadata={"a": "1", "b": "2"})
    updated = account.v1.checkout.sessions.update(session.id, {"metadata": {"b": "", "c": "3"}})
    assert updated.metadata.to_dict() == {"a": "1", "c": "3"}


def test_a_sessions_intent_is_canceled_through_the_session_only(account: StripeAccount) -> None:
    intent = account.paid(outcome="declined")["payment_intent"]["id"]
    with pytest.raises(stripe.InvalidRequestError, match="Expire the Checkout Session"):
        account.v1.payment_intents.cancel(intent)
    alone = account.v1.payment_intents.create({"amount": 500, "currency": "eur"})
    assert account.v1.payment_intents.cancel(alone.id).status == "canceled"


def test_the_sdk_reads_it_asynchronously_too(account: StripeAccount) -> None:
    session = account.paid()["session"]

    async def read() -> Any:
        client = account.client
        found = await client.v1.checkout.sessions.retrieve_async(session["id"], {"expand": ["payment_intent"]})
        events = await client.v1.events.list_async({"limit": 2})
        return found, [event.type async for event in events.auto_paging_iter()]

    found, types = asyncio.run(read())
    assert found.payment_intent.status == "succeeded"
    assert len(types) == 4
