"""Tests of the webhook with hostile and broken deliveries: each gets the right answer and harms no payment."""

import gzip
import json
import time
import uuid
from collections.abc import Callable
from typing import Any

import pytest

from payments.gateway.signatures import LARGEST_BODY
from tests.inputs.target import OLD_SECRET, Answer, Target

YEAR = 365 * 24 * 3600
TAKEN = (b"applied", b"no_change")


@pytest.fixture
def event(target: Target) -> dict[str, Any]:
    return target.clinic.story().failed()


@pytest.fixture
def body(event: dict[str, Any]) -> str:
    return json.dumps(event)


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "FOO"])
def test_only_post_is_allowed(target: Target, method: str, body: str) -> None:
    with target.unmoved():
        answer = target.ask(method, "/stripe/webhook/", body.encode(), [target.signature(body)])
    assert (answer.status, answer.headers["Allow"]) == (405, "POST")


UNSIGNED = ["garbage", "t=1", "t=abc,v1=00", "v1=00", "t=NOW,v0=RIGHT", "t=NOW,v1=é", "t=1=2,v1", "=,=", "t=NOW,v1=",
            "t=٣,v1=00", "t=" + "9" * 5000 + ",v1=00", "t=-NOW,v1=RIGHT", "t=1e9,v1=RIGHT", "v1=RIGHT",
            "," * 8000]  # fmt: skip


@pytest.mark.parametrize("header", UNSIGNED, ids=lambda header: header[:20])
def test_a_delivery_without_a_right_signature_is_refused(target: Target, body: str, header: str) -> None:
    stamp, _, right = target.signature(body)[1][2:].partition(",v1=")
    header = header.replace("NOW", stamp).replace("RIGHT", right).encode().decode("latin-1")
    with target.unmoved():
        answer = target.webhook(body.encode(), ("Stripe-Signature", header))
    assert answer.status == 400
    assert "signature" in answer.text


def test_a_delivery_without_the_signatures_header_is_refused(target: Target, body: str) -> None:
    with target.unmoved():
        assert target.webhook(body.encode()).status == 400
        assert target.webhook(body.encode(), ("Stripe-Signature", "")).status == 400


@pytest.mark.parametrize(
    "again",
    [
        lambda body: body + " ",
        lambda body: json.dumps(json.loads(body), indent=1),
        lambda body: body.replace('"livemode": false', '"livemode": true'),
        lambda body: "\ufeff" + body,
    ],
    ids=["longer", "serialised again", "changed", "with a byte order mark"],
)
def test_a_body_changed_after_signing_is_refused(target: Target, body: str, again: Callable[[str], str]) -> None:
    with target.unmoved():
        assert target.webhook(again(body).encode(), target.signature(body)).status == 400


@pytest.mark.parametrize("age", [301, YEAR, -400, -YEAR])  # test_sequences has the exact bound, with a stopped clock
def test_a_signature_of_another_time_is_refused_whether_old_or_ahead(target: Target, body: str, age: int) -> None:
    with target.unmoved():
        answer = target.signed(body, at=time.time() - age)
    assert answer.status == 400
    assert "clock" in answer.text


@pytest.mark.parametrize("age", [240, -299])
def test_a_signature_of_almost_another_time_is_taken(target: Target, body: str, age: int) -> None:
    answer = target.signed(body, at=time.time() - age)
    assert (answer.status, answer.body in TAKEN) == (200, True)


def test_the_secret_of_before_a_rotation_is_still_right_and_any_other_is_not(target: Target, body: str) -> None:
    with target.unmoved():
        assert target.signed(body, secret="whsec_mine").status == 400
        assert target.signed(body, secret=target.secret[:-1]).status == 400
    assert target.signed(body, secret=OLD_SECRET).body in TAKEN


def test_two_signatures_of_which_one_is_right_are_taken(target: Target, body: str) -> None:
    name, header = target.signature(body)
    assert target.webhook(body.encode(), (name, header.replace("v1=", f"v1={'0' * 64},v1="))).body in TAKEN


def test_two_signature_headers_are_refused_because_they_name_two_times(target: Target, body: str) -> None:
    """The server joins two Stripe-Signature headers with a comma; as the result has two timestamps, it is refused."""
    wrong = ("Stripe-Signature", f"t={int(time.time())},v1={'0' * 64}")
    with target.unmoved():
        for other in (wrong, target.signature(body)):
            assert target.webhook(body.encode(), other, target.signature(body)).status == 400


def test_a_delivery_replayed_later_is_refused_and_a_second_one_is_applied_once(target: Target, body: str) -> None:
    with target.unmoved():
        assert target.signed(body, at=time.time() - 600).status == 400
    assert target.signed(body).body in TAKEN
    once = target.rows()
    assert target.signed(body).status == 200
    assert target.rows() == once


NO_EVENTS = ["", "not JSON", "5", "null", "[]", '"x"', "{}", '{"id": "evt_1"}', "[" * 60_000, '{"a":' * 40_000,
             "1" * 10_000, "NaN", '{"id":1,"type":"x","created":1,"livemode":false}', "{}\0", "\0"]  # fmt: skip


@pytest.mark.parametrize("text", NO_EVENTS, ids=lambda text: text[:16])
def test_a_signed_body_that_is_no_event_is_refused(target: Target, text: str) -> None:
    with target.unmoved():
        assert target.signed(text).status == 400


BROKEN_ENVELOPES: list[dict[str, Any]] = [
    {"id": ""}, {"id": "e" * 256}, {"id": ["evt_1"]}, {"type": None}, {"type": "t" * 251}, {"created": "now"},
    {"created": -1}, {"created": True}, {"created": 2**63}, {"created": 2**53}, {"created": 1e300}, {"livemode": 1},
    {"id": "evt_a/b"}, {"id": "evt_\0"}, {"data": {"object": {"\0": 1}}}, {"data": {"object": "\ud800"}},
    {"request": float("nan")}, {"request": float("inf")}, {"object": "balance"}, {"api_version": "x" * 65},
]  # fmt: skip


@pytest.mark.parametrize("change", BROKEN_ENVELOPES, ids=str)
def test_a_signed_event_that_no_database_can_keep_is_refused(target: Target, change: Any, event: Any) -> None:
    with target.unmoved():
        assert target.signed(event | change).status == 400


@pytest.mark.parametrize(
    "sent",
    [
        b"\xff\xfe{",
        b"\xef\xbb\xbf{}",
        "{}".encode("utf-16"),
        b"\x1f\x8b\x08",
        gzip.compress(b"{}", mtime=0),
        b'{"id":"\xc3"}',
    ],
)
def test_bytes_that_are_not_utf8_json_are_refused(target: Target, sent: bytes) -> None:
    with target.unmoved():
        assert target.webhook(sent, target.signature(sent.decode("latin-1"))).status == 400


def test_a_compressed_event_is_refused(target: Target, body: str) -> None:
    with target.unmoved():
        answer = target.webhook(gzip.compress(body.encode()), target.signature(body), ("Content-Encoding", "gzip"))
    assert answer.status == 400


@pytest.mark.parametrize("kind", ["application/json; charset=nope", "text/plain; charset=utf-16", ";;="])
def test_the_stated_type_is_not_asked(target: Target, body: str, kind: str) -> None:
    answer = target.ask("POST", "/stripe/webhook/", body.encode(), [("Content-Type", kind), target.signature(body)])
    assert answer.body in TAKEN


@pytest.mark.parametrize("size", [LARGEST_BODY + 1, 3 * 1024 * 1024])
def test_a_body_that_is_too_large_is_refused_however_it_is_signed(target: Target, size: int) -> None:
    with target.unmoved():
        assert target.signed("x" * size).status == 413


def test_a_body_of_unknown_length_is_refused_when_it_grows_too_large(target: Target) -> None:
    sent = "".join(f"{len(part):x}\r\n{part}\r\n" for part in ["x" * 50_000] * 6 + [""])
    with target.unmoved():
        answer = target.webhook(sent.encode(), target.signature("x" * 300_000), ("Transfer-Encoding", "chunked"))
    assert answer.status == 413


@pytest.mark.parametrize("length", ["-1", "x", "9" * 40, "1, 2"])
def test_a_nonsensical_length_is_refused(target: Target, body: str, length: str) -> None:
    with target.unmoved():
        sent = (
            f"POST /stripe/webhook/ HTTP/1.1\r\nHost: {target.site.url[7:]}\r\nContent-Length: {length}\r\n\r\n{body}"
        )
        got = target.raw(sent.encode(), 2)
    assert got[:12] in (b"HTTP/1.1 400", b"HTTP/1.1 413", b"")


def quarantined(target: Target, answer: Answer, event: dict[str, Any], outcome: str, before: dict[str, Any]) -> None:
    """Check that the webhook's answer and the event's receipt both say `outcome`, and that no payment has changed.

    `before` is what `target.rows()` returned before the event was posted.
    """
    assert (answer.status, answer.text) == (200, outcome)
    row = "SELECT outcome FROM clinic_payments_eventreceipt WHERE stripe_event_id = %s"
    assert target.database.execute(row, [event["id"]]).fetchall() == [(outcome,)]
    after = target.rows()
    assert (after["standing"], after["clinic_payments_statuschange"]) == (
        before["standing"],
        before["clinic_payments_statuschange"],
    )


UNUSABLE: list[Any] = [
    None, {}, 5, {"object": None}, {"object": []}, {"object": {"object": "checkout.session"}},
    {"object": {"id": 5, "status": "complete"}}, {"object": {"id": "x", "status": "unheard_of"}},
]  # fmt: skip


@pytest.mark.parametrize("data", UNUSABLE, ids=str)
def test_a_signed_event_without_a_usable_object_is_quarantined(target: Target, data: Any) -> None:
    event, before = target.clinic.story().completed() | {"data": data}, target.rows()
    quarantined(target, target.signed(event), event, "quarantined", before)


BAD_FIELDS: list[dict[str, Any]] = [
    *({"amount_captured": amount} for amount in (-1, 2**63, 2**53, "100", 1.5, True)),
    {"amount_refunded": -1}, {"id": "ch_" + "x" * 300}, {"currency": "euros"}, {"currency": 978}, {"currency": ["eur"]},
    {"payment_intent": "pi_" + "x" * 300}, {"payment_intent": {"id": 5}}, {"created": -5}, {"metadata": [1]},
    {"metadata": "x"}, {"refunds": {"data": 5}}, {"refunds": {"data": [5]}}, {"refunds": {"data": [{"metadata": 7}]}},
]  # fmt: skip


@pytest.mark.parametrize("change", BAD_FIELDS, ids=str)
def test_an_object_with_an_impossible_field_is_quarantined(target: Target, change: dict[str, Any]) -> None:
    event, before = target.clinic.story().charged(), target.rows()
    event["data"]["object"] |= change
    quarantined(target, target.signed(event), event, "quarantined", before)


ODD_ENVELOPES: list[dict[str, Any]] = [
    {"api_version": 5}, {"api_version": None}, {"request": 5}, {"request": "req_1"},
    {"request": {"id": 7}}, {"pending_webhooks": "x"}, {"pending_webhooks": 2**40},
]  # fmt: skip


@pytest.mark.parametrize("change", ODD_ENVELOPES, ids=lambda change: str(change)[:40])
def test_an_odd_envelope_is_no_reason_to_fail(target: Target, change: dict[str, Any]) -> None:
    assert target.signed(target.clinic.story().failed() | change).status == 200


@pytest.mark.parametrize("where", ["more", "data"])
@pytest.mark.parametrize(("levels", "status"), [(40, 200), (70, 400), (500, 400), (960, 400), (990, 400)])
def test_nesting_deeper_than_stripes_is_refused(target: Target, levels: int, status: int, where: str) -> None:
    event = target.clinic.story().failed()
    (event if where == "more" else event["data"])["more"] = "NESTED"
    text = json.dumps(event).replace('"NESTED"', "[" * levels + "]" * levels)
    if status == 200:
        assert target.signed(text).status == 200
        return
    with target.unmoved():
        assert target.signed(text).status == status


def test_zero_is_an_amount(target: Target) -> None:
    event = target.clinic.story(2, 0).charged(amount=0)
    assert target.signed(event).body in TAKEN


def test_an_unknown_type_is_ignored_and_counted(target: Target) -> None:
    event, before = target.clinic.story().completed() | {"type": "customer.created"}, target.rows()
    quarantined(target, target.signed(event), event, "ignored_type", before)


def test_the_wrong_mode_is_rejected(target: Target) -> None:
    event, before = target.clinic.story().completed() | {"livemode": True}, target.rows()
    quarantined(target, target.signed(event), event, "rejected_livemode", before)


def test_another_account_is_ignored(target: Target) -> None:
    for account in ("acct_another", {"id": "acct_another"}, 5):
        event, before = target.clinic.story().completed() | {"account": account}, target.rows()
        quarantined(target, target.signed(event), event, "ignored_foreign", before)


def test_an_unknown_payment_waits_and_nobodys_is_ignored(target: Target) -> None:
    row = target.database.execute("SELECT site_id FROM clinic_payments_installation").fetchone()
    assert row
    for site, outcome in ((row[0], "deferred"), (uuid.uuid4(), "ignored_foreign"), ("", "ignored_foreign")):
        event, before = target.clinic.story().completed(), target.rows()
        event["data"]["object"]["metadata"] |= {"payment_id": str(uuid.uuid4()), "site": str(site)}
        quarantined(target, target.signed(event), event, outcome, before)
    payment_id: Any
    for payment_id in ("", "x" * 500, "../../etc/passwd", 5, None, {}):
        event, before = target.clinic.story().completed(), target.rows()
        event["data"]["object"]["metadata"]["payment_id"] = payment_id
        quarantined(target, target.signed(event), event, "ignored_foreign", before)


def test_more_given_back_than_came_in_never_shows(target: Target) -> None:
    story = target.clinic.story(2, 1)
    for event in (story.completed(), story.charged(), story.charge_refunded(story.amount * 3), story.refund(2**52)):
        assert target.signed(event).status == 200
    shown = "SELECT amount_received, amount_refunded FROM clinic_payments_payment WHERE public_id = %s"
    received, refunded = target.database.execute(shown, [str(story.payment.public_id)]).fetchall()[0]
    assert received == story.amount
    assert refunded <= received


def test_a_thin_event_is_acknowledged_and_ignored(target: Target) -> None:
    with target.unmoved():
        answer = target.signed({"id": "evt_1", "object": "v2.core.event", "type": "v1.billing.meter.no_meter_found"})
    assert (answer.status, answer.body) == (200, b"ignored_type")


def test_a_secret_of_the_senders_choice_is_not_asked(target: Target, body: str) -> None:
    with target.unmoved():
        answer = target.signed(body, ("X-Djstripe-Webhook-Secret", "whsec_mine"), secret="whsec_mine")
    assert answer.status == 400


@pytest.mark.parametrize(
    "forwarded", ["not-an-ip", ", ".join(["10.0.0.1"] * 300), "'; DROP TABLE clinic_payments_payment;--"]
)
def test_a_forwarded_address_is_not_asked(target: Target, body: str, forwarded: str) -> None:
    assert target.signed(body, ("X-Forwarded-For", forwarded), ("X_Forwarded_For", forwarded)).body in TAKEN


def test_the_url_works_with_and_without_its_last_slash(target: Target, body: str) -> None:
    row = target.database.execute("SELECT djstripe_uuid FROM djstripe_webhookendpoint").fetchone()
    assert row
    for path in ("/stripe/webhook", f"/stripe/webhook/{row[0]}"):
        for slash in ("", "/"):
            assert target.webhook(body.encode(), target.signature(body), path=path + slash).status == 200


@pytest.mark.parametrize(
    "path",
    [f"/stripe/webhook/{uuid.UUID(int=4)}/", f"/stripe/webhook/{'-' * 36}/", f"/stripe/webhook/{'a' * 36}",
     "/stripe/webhook/..%2f", "/stripe/webhook//", "/stripe/webhook/x",
     "/stripe/webhook/%00", "//stripe/webhook/", "/STRIPE/WEBHOOK/", "/stripe/../stripe/webhook/"],
)  # fmt: skip
def test_another_url_is_not_found_and_never_redirects(target: Target, body: str, path: str) -> None:
    with target.unmoved():
        assert target.webhook(body.encode(), target.signature(body), path=path).status == 404
