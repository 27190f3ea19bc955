"""Tests that webhook deliveries are accepted only with a valid header Stripe-Signature: `t=<time>,v1=<signature>`.

Those that call the module's functions say which signed texts are events, with the exact limits.
"""

import json
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import time_machine
from django.conf import settings as site_settings

from payments.gateway.objects import LAST_SECOND
from payments.gateway.signatures import Delivery, NotAnEventError, UnsignedError, parse_event, verified_body
from payments.models import EventReceipt
from tests.payments.stripe_story import Story, deliver, sign

SECRET = site_settings.STRIPE_WEBHOOK_SECRETS[0]
DAY = 24 * 3600
REPLAYED = [
    "t={old},v1={right},t={now}",
    "t={now},t={old},v1={right}",
    "t={old},v1={right}, t={now}",
    "t={old},t={old},v1={right}",
    "t={old}=,t={now},v1={right}",
]
UNSIGNED = [
    "t={now}",
    "t={now},v1=",
    "t={now},v0={right}",
    "t={now},v0={right},v1=",
    "t={now}, v1={right}",
    "v1={right}",
]
SIGNED = ["v1={right},t={now}", "t={now},v1={wrong},v1={right}", "t={now},v1={right},v0=,v2=new"]


@pytest.fixture
def body(story: Story) -> str:
    return json.dumps(story.completed())


@pytest.mark.parametrize("age", [600, 40 * DAY])
@pytest.mark.parametrize("replayed", REPLAYED)
def test_a_second_time_beside_the_signed_one_is_refused(body: str, replayed: str, age: int) -> None:
    old, now = int(time.time()) - age, int(time.time())
    right = sign(body, SECRET, old).partition("v1=")[2]
    response = deliver(body, headers={"Stripe-Signature": replayed.format(old=old, now=now, right=right)})
    assert (response.status_code, response.content) == (400, b"invalid signature")
    assert not EventReceipt.objects.exists()


@pytest.mark.parametrize(
    "spelled",
    [
        lambda now: f"+{now}",
        lambda now: f"-{now}",
        lambda now: f" {now}",
        lambda now: f"{now} ",
        lambda now: f"0{now}",
        lambda now: f"{now}.0",
        lambda now: f"{now[:3]}_{now[3:]}",
        lambda now: now.translate({ord("1"): "١"}),
        lambda now: "",
    ],
    ids=["plus", "minus", "space before", "space after", "zero", "fraction", "underscore", "arabic digits", "empty"],
)
def test_a_time_that_is_not_plain_digits_is_refused(body: str, spelled: Callable[[str], str]) -> None:
    now = str(int(time.time()))
    right = sign(body, SECRET, int(now)).partition("v1=")[2]
    header = f"t={spelled(now)},v1={right}".encode().decode("latin-1")
    assert deliver(body, headers={"Stripe-Signature": header}).status_code == 400
    assert not EventReceipt.objects.exists()


@pytest.mark.parametrize("other", UNSIGNED)
def test_a_header_without_a_right_v1_is_refused(body: str, other: str) -> None:
    now = int(time.time())
    right = sign(body, SECRET, now).partition("v1=")[2]
    assert deliver(body, headers={"Stripe-Signature": other.format(now=now, right=right)}).status_code == 400
    assert not EventReceipt.objects.exists()


@pytest.mark.parametrize("form", SIGNED)
def test_other_fields_may_be_repeated_unknown_or_in_another_order(body: str, form: str) -> None:
    """A delivery with one right v1 signature is accepted, whatever other fields the header has, and in any order.

    Stripe sends one v1 per secret that is valid during a rotation, a v0 in test mode, and may add more fields.
    """
    now = int(time.time())
    right = sign(body, SECRET, now).partition("v1=")[2]
    header = form.format(now=now, right=right, wrong="0" * 64)
    assert deliver(body, headers={"Stripe-Signature": header}).content == b"applied"


# The functions themselves

NOW = 1_800_000_000
EVENT: dict[str, Any] = {
    "id": "evt_1",
    "object": "event",
    "type": "charge.succeeded",
    "created": NOW,
    "livemode": False,
    "api_version": None,
    "data": {"object": {"id": "ch_1"}},
}


def delivered(body: str, at: int = NOW) -> Delivery:
    return Delivery(body.encode(), sign(body, "whsec_1", at), "127.0.0.1")


def nested(levels: int, kind: Callable[[Any], Any]) -> Any:
    value: Any = "é"
    for _ in range(levels):
        value = kind(value)
    return value


@pytest.fixture
def stopped_clock() -> Any:
    with time_machine.travel(NOW, tick=False):
        yield


@pytest.mark.usefixtures("stopped_clock")
def test_one_right_secret_is_enough() -> None:
    assert verified_body(delivered("é"), ["", "whsec_0", "whsec_1", "whsec_2"]) == "é"
    for secrets in ([], [""], ["whsec_0"], ["whsec_0", "", "whsec_2"]):
        with pytest.raises(UnsignedError, match=r"^invalid signature$"):
            verified_body(delivered("é"), secrets)


@pytest.mark.usefixtures("stopped_clock")
@pytest.mark.parametrize("off", [300, -300])
def test_a_signature_may_be_five_minutes_off_and_no_second_more(off: int) -> None:
    assert verified_body(delivered("x", at=NOW + off), ["whsec_1"]) == "x"
    problem = "signature outside the tolerance of 5 minutes: check this machine's clock"
    with pytest.raises(UnsignedError, match=f"^{problem}$"):
        verified_body(delivered("x", at=NOW + off + off // 300), ["whsec_1"])


@pytest.mark.usefixtures("stopped_clock")
def test_bytes_that_are_no_text_were_signed_by_nobody() -> None:
    right = delivered("x")
    for wrong in (replace(right, body=b"\xff"), replace(right, signature=right.signature + ",v9=é")):
        with pytest.raises(UnsignedError, match=r"^invalid signature$"):
            verified_body(wrong, ["whsec_1"])


@pytest.mark.parametrize("header", ["v1=00", f"t={NOW},t={NOW}", "t=0", "t=" + "9" * 13])
def test_a_signature_has_one_time_of_at_most_twelve_digits(header: str) -> None:
    with pytest.raises(UnsignedError, match=r"^invalid signature$"):
        verified_body(Delivery(b"x", header, "127.0.0.1"), ["whsec_1"])


def test_a_time_of_twelve_digits_is_only_too_far_off() -> None:
    with pytest.raises(UnsignedError, match="tolerance"):
        verified_body(Delivery(b"x", "t=" + "9" * 12, "127.0.0.1"), ["whsec_1"])


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"id": "e"},
        {"type": "t"},
        {"id": "e" * 255},
        {"type": "t" * 250},
        {"created": 0},
        {"created": LAST_SECOND - 1},
        {"livemode": True},
        {"api_version": "v" * 64},
        {"data": nested(62, lambda inner: [inner])},
        {"data": nested(62, lambda inner: {"x": inner})},
        {"more": None},
    ],
    ids=str,
)
def test_an_event_is_taken_as_it_is(change: dict[str, Any]) -> None:
    assert parse_event(json.dumps(EVENT | change)) == EVENT | change


@pytest.mark.parametrize(
    "change",
    [
        {"id": "e" * 256},
        {"id": ""},
        {"id": "evt 1"},
        {"id": 1},
        {"type": "t" * 251},
        {"type": ""},
        {"type": None},
        {"object": "v2.event"},
        {"created": -1},
        {"created": LAST_SECOND},
        {"created": True},
        {"created": 1.5},
        {"livemode": None},
        {"livemode": 0},
        {"api_version": "v" * 65},
        {"data": nested(63, lambda inner: [inner])},
        {"data": nested(63, lambda inner: {"x": inner})},
        {"data": "\0"},
    ],
    ids=str,
)
def test_what_databases_cannot_keep_is_no_event(change: dict[str, Any]) -> None:
    with pytest.raises(NotAnEventError, match=r"^not a Stripe event$"):
        parse_event(json.dumps(EVENT | change))


@pytest.mark.parametrize("name", ["id", "type", "object", "created", "livemode"])
def test_an_event_lacks_none_of_its_fields(name: str) -> None:
    with pytest.raises(NotAnEventError, match=r"^not a Stripe event$"):
        parse_event(json.dumps({key: value for key, value in EVENT.items() if key != name}))


@pytest.mark.parametrize("body", ["", "{", '{"x": NaN}', r'{"x": "\ud800"}', "[" * 100_000])
def test_what_is_no_json_is_no_event(body: str) -> None:
    with pytest.raises(NotAnEventError, match=r"^not JSON$"):
        parse_event(body)


@pytest.mark.parametrize("body", ["[]", "1", "null", '"event"'])
def test_only_an_object_is_an_event(body: str) -> None:
    with pytest.raises(NotAnEventError, match=r"^not a Stripe event$"):
        parse_event(body)


def test_of_a_thin_event_its_name_is_kept_in_the_length_that_fits() -> None:
    thin = {"object": "v2.core.event", "id": "e" * 300, "type": "t" * 300, "created": "2026-01-01", "data": {}}
    assert parse_event(json.dumps(thin)) == {"object": "v2.core.event", "id": "e" * 255, "type": "t" * 250}
    assert parse_event('{"object": "v2.core.event"}') == {"object": "v2.core.event", "id": "", "type": ""}
