"""Tests that what a signed event holds, however odd, makes no page fail."""

from typing import Any

import pytest

from payments.gateway.objects import from_object
from payments.gateway.reading import Reading
from payments.models import EventReceipt
from tests.payments.streamed import failure_of
from tests.payments.stripe_story import Story, deliver
from tests.test_authority import World

pytestmark = [pytest.mark.postgres, pytest.mark.django_db]

FAR = 2**53 - 1
ODD_IDS = ["evt_a/b", "evt_ b", "evt_é", "../evt_1", "evt_?x", "evt_#", "evt_\n", "evt_%2F"]
ODD_OBJECTS: list[tuple[str, dict[str, Any]]] = [
    ("dispute", {"evidence_details": {"due_by": FAR}}),
    ("dispute", {"evidence_details": {"due_by": 2**36}}),
    ("dispute", {"created": FAR}),
    ("dispute", {"id": "du_a/b"}),
    ("dispute", {"charge": "ch_\x7f"}),
    ("dispute", {"balance_transactions": [{"created": FAR, "amount": -5000}]}),
    ("dispute", {"amount": FAR}),
    ("dispute", {"reason": {"a": 1}}),
    ("charged", {"created": FAR}),
    ("charged", {"id": "ch_a/b"}),
    ("charged", {"id": "offline_1"}),
    ("charged", {"currency": "é"}),
    ("charged", {"currency": "1/"}),
    ("charged", {"payment_intent": "pi_a b"}),
    ("charged", {"amount_captured": FAR}),
    ("charged", {"payment_method_details": {"type": ["card"]}}),
    ("charged", {"payment_method_details": {"type": "<b>"}}),
    ("charged", {"metadata": {"attempt": 10**30}}),
    ("charged", {"failure_code": {"x": 10**30}}),
    ("refund", {"created": FAR}),
    ("refund", {"id": "re_/"}),
    ("refund", {"id": "request_1"}),
    ("refund", {"metadata": {"refund_request": 10**30}}),
    ("completed", {"created": FAR}),
    ("completed", {"expires_at": FAR}),
    ("open", {"expires_at": FAR}),
    ("open", {"expires_at": "tomorrow"}),
    ("open", {"expires_at": [1]}),
    ("open", {"url": "javascript:alert(1)"}),
    ("open", {"url": {"a": 1}}),
    ("failed", {"last_payment_error": {"code": ["x"]}}),
    ("failed", {"last_payment_error": 5}),
]


def event_of(story: Story, name: str) -> dict[str, Any]:
    if name == "dispute":
        return story.dispute("needs_response")
    if name == "refund":
        return story.refund(100)
    if name == "open":
        return story._event("checkout.session.expired", story.session("A", "open", "unpaid"))
    event: dict[str, Any] = getattr(story, name)()
    return event


def failing_pages(world: World) -> list[str]:
    """Return the staff's and the patient's pages about the payment that fail."""
    reference, client = world.payment.appointment.reference, world.clients["superuser"]
    client.raise_request_exception = False
    pages = [f"/desk/{reference}/{each}" for each in ("", "why/", "timeline/", "movements/", "refund/", "take/")]
    pages += ["/desk/", "/review/", "/desk/why/", "/desk/operations/", "/desk/export.csv", "/desk/closing/"]
    pages += [
        f"/payments/{world.payment.public_id}/receipt/",
        "/payments/live/?after=0",
        "/desk/journal.csv?first=&last=",
        "/desk/journal/?first=&last=",
    ]
    pages += [f"/admin/clinic_payments/{model}/" for model in ("payment", "fact", "eventreceipt", "statuschange")]
    pages += [f"/admin/clinic_payments/payment/{world.payment.pk}/change/"]
    return [failed for page in pages if (failed := failure_of(client, page))]


def test_an_event_with_an_odd_id_is_refused(world: World) -> None:
    for event_id in ODD_IDS:
        assert deliver(Story(world.payment).charged() | {"id": event_id}).status_code == 400, event_id
        assert not EventReceipt.objects.filter(stripe_event_id=event_id).exists(), event_id
    assert failing_pages(world) == []


@pytest.mark.parametrize(("name", "change"), ODD_OBJECTS, ids=str)
def test_an_object_with_an_odd_value_makes_no_page_fail(world: World, name: str, change: dict[str, Any]) -> None:
    story = Story(world.payment)
    for first in (story.completed(), story.charged()) if name in ("dispute", "refund") else ():
        deliver(first)
    event = event_of(story, name)
    event["data"]["object"] |= change
    answer = deliver(event)
    assert (answer.status_code, failing_pages(world)) == (200, [])


def test_an_object_that_stripe_answers_holds_no_text_that_a_database_refuses(world: World) -> None:
    """Objects that the site fetches from Stripe's API didn't pass the webhook's own checks."""
    story = Story(world.payment)
    dispute = story.dispute("needs_response")["data"]["object"] | {"reason": "a\0b\ud800c" + "x" * 100}
    (fact,) = from_object(dispute, 1)
    assert fact.details["reason"] == "abc" + "x" * 77
    reading = Reading()
    reading.add(dispute | {"id": "du_\0"}, 1)
    assert (reading.facts, list(reading.strange)) == ([], ["du_"])
