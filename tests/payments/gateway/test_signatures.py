"""Tests that webhook deliveries are accepted only with a valid header Stripe-Signature: `t=<time>,v1=<signature>`."""

import json
import time
from collections.abc import Callable

import pytest
from django.conf import settings as site_settings

from payments.models import EventReceipt
from tests.payments.stripe_story import Story, deliver, sign

pytestmark = pytest.mark.django_db
SECRET = site_settings.STRIPE_WEBHOOK_SECRETS[0]
DAY = 24 * 3600
REPLAYED = [
    "t={old},v1={right},t={now}",
    "t={now},t={old},v1={right}",
    "t={old},v1={right}, t={now}",
    "t={old},t={old},v1={right}",
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
