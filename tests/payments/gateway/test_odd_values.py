"""Tests that what a signed event holds, however odd, makes no page fail."""

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from payments.gateway.objects import from_object
from payments.gateway.reading import Reading
from payments.models import EventReceipt, Payment
from tests.payments.streamed import failure_of
from tests.payments.stripe_story import Story, deliver
from tests.test_authority import World

pytestmark = [pytest.mark.postgres(sqlite_at_night=True), pytest.mark.django_db]

FAR = 2**53 - 1
ODD_IDS = ["evt_a/b", "evt_ b", "evt_é", "../evt_1", "evt_?x", "evt_#", "evt_\n", "evt_%2F"]
ODD_VALUES: dict[str, list[dict[str, Any]]] = {  # of the object in each event
    "dispute": [
        {"evidence_details": {"due_by": FAR}},
        {"evidence_details": {"due_by": 2**36}},
        {"created": FAR},
        {"id": "du_a/b"},
        {"charge": "ch_\x7f"},
        {"balance_transactions": [{"created": FAR, "amount": -5000}]},
        {"amount": FAR},
        {"reason": {"a": 1}},
    ],
    "charged": [
        {"created": FAR},
        {"id": "ch_a/b"},
        {"id": "offline_1"},
        {"currency": "é"},
        {"currency": "1/"},
        {"payment_intent": "pi_a b"},
        {"amount_captured": FAR},
        {"payment_method_details": {"type": ["card"]}},
        {"payment_method_details": {"type": "<b>"}},
        {"metadata": {"attempt": 10**30}},
        {"failure_code": {"x": 10**30}},
    ],
    "refund": [
        {"created": FAR},
        {"id": "re_/"},
        {"id": "request_1"},
        {"metadata": {"refund_request": 10**30}},
    ],
    "completed": [
        {"created": FAR},
        {"expires_at": FAR},
    ],
    "open": [
        {"expires_at": FAR},
        {"expires_at": "tomorrow"},
        {"expires_at": [1]},
        {"url": "javascript:alert(1)"},
        {"url": {"a": 1}},
    ],
    "failed": [
        {"last_payment_error": {"code": ["x"]}},
        {"last_payment_error": 5},
    ],
}


def event_of(story: Story, name: str) -> dict[str, Any]:
    if name == "dispute":
        return story.dispute("needs_response")
    if name == "refund":
        return story.refund(100)
    if name == "open":
        return story._event("checkout.session.expired", story.session("A", "open", "unpaid"))
    event: dict[str, Any] = getattr(story, name)()
    return event


def failing_pages(client: Client, payments: list[Payment]) -> list[str]:
    """Return the pages about these payments, and the lists that show them, that fail."""
    client.raise_request_exception = False
    pages = ["/desk/", "/review/", "/desk/why/", "/desk/operations/", "/desk/export.csv", "/desk/closing/"]
    pages += ["/payments/live/?after=0", "/desk/journal.csv?first=&last=", "/desk/journal/?first=&last="]
    pages += [f"/admin/clinic_payments/{model}/" for model in ("payment", "fact", "eventreceipt", "statuschange")]
    for payment in payments:
        sheet = f"/desk/{payment.appointment.reference}/"
        pages += [sheet + each for each in ("", "why/", "timeline/", "movements/", "refund/", "take/")]
        pages += [f"/payments/{payment.public_id}/receipt/", f"/admin/clinic_payments/payment/{payment.pk}/change/"]
    return [failed for page in pages if (failed := failure_of(client, page))]


def test_an_event_with_an_odd_id_is_refused(world: World) -> None:
    for event_id in ODD_IDS:
        assert deliver(Story(world.payment).charged() | {"id": event_id}).status_code == 400, event_id
        assert not EventReceipt.objects.filter(stripe_event_id=event_id).exists(), event_id
    assert failing_pages(world.clients["superuser"], [world.payment]) == []


@pytest.mark.parametrize("name", ODD_VALUES)
def test_objects_with_odd_values_make_no_page_fail(world: World, name: str, book: Callable[..., Payment]) -> None:
    payments = []
    for odd in ODD_VALUES[name]:
        payments.append(book())
        story = Story(payments[-1])
        for first in (story.completed(), story.charged()) if name in ("dispute", "refund") else ():
            deliver(first)
        event = event_of(story, name)
        event["data"]["object"] |= odd
        assert deliver(event).status_code == 200, odd
    assert failing_pages(world.clients["superuser"], payments) == []


def test_an_object_that_stripe_answers_holds_no_text_that_a_database_refuses(world: World) -> None:
    """Objects that the site fetches from Stripe's API didn't pass the webhook's own checks."""
    story = Story(world.payment)
    dispute = story.dispute("needs_response")["data"]["object"] | {"reason": "a\0b\ud800c" + "x" * 100}
    (fact,) = from_object(dispute, 1)
    assert fact.details["reason"] == "abc" + "x" * 77
    reading = Reading()
    reading.add(dispute | {"id": "du_\0"}, 1)
    assert (reading.facts, list(reading.strange)) == ([], ["du_"])
