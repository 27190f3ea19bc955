"""The webhook called as an ASGI application, which bypasses Django's request handler."""

import json
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from asgiref.testing import ApplicationCommunicator
from django.conf import settings
from django.db import connection

from payments.domain.status import PaymentStatus
from payments.gateway.signatures import LARGEST_BODY
from payments.logs import HEADER
from payments.models import EventReceipt, Payment
from payments_site.asgi import application
from tests.payments.stripe_story import Event, Story, sign
from tests.waits import until

pytestmark = pytest.mark.django_db(transaction=True)


async def post(chunks: list[bytes], *headers: tuple[bytes, bytes], path: str = "/stripe/webhook/") -> tuple[int, Any]:
    """POST a body in these chunks to the ASGI application, and return (status, (headers, body)) of the response."""
    scope = {"type": "http", "method": "POST", "path": path, "query_string": b"", "client": ("127.0.0.1", 5)}
    scope["headers"] = [(b"host", b"testserver"), *headers]
    server: Any = ApplicationCommunicator(application, scope)  # type: ignore[no-untyped-call]
    for number, chunk in enumerate(chunks, 1):
        await server.send_input({"type": "http.request", "body": chunk, "more_body": number < len(chunks)})
    start = await server.receive_output(15)
    body = await server.receive_output(15)
    return start["status"], (dict(start["headers"]), body.get("body"))


def signed(event: Event) -> tuple[bytes, tuple[bytes, bytes]]:
    body = json.dumps(event).encode()
    return body, (b"stripe-signature", sign(body.decode(), settings.STRIPE_WEBHOOK_SECRETS[0]).encode())


@pytest.mark.postgres
async def test_a_delivery_in_pieces_is_applied_once(story: Story) -> None:
    body, header = signed(story.completed())
    for outcome in (b"applied", b"applied"):
        status, (headers, text) = await post([body[:100], body[100:], b""], header)
        assert (status, text) == (200, outcome)
        assert len(headers[HEADER.lower().encode()]) >= 8
    assert (await Payment.objects.aget()).status == PaymentStatus.PAID
    assert (await EventReceipt.objects.aget()).deliveries == 2


async def test_a_delivery_is_logged_once_as_what_became_of_it(story: Story, caplog: pytest.LogCaptureFixture) -> None:
    def logged() -> list[str]:
        return [record.message for record in caplog.records if record.name == "payments.gateway.webhooks"]

    with caplog.at_level("INFO"):
        body, header = signed(story.completed())
        await post([body], header)
        await until(logged, "the delivery is logged")
        await post([b"x" * LARGEST_BODY, b"x", b""])
    assert logged() == ["stripe_event_received", "stripe_webhook_refused"]


async def test_what_nobody_signed_or_is_too_large_leaves_nothing(story: Story) -> None:
    body, header = signed(story.completed())
    assert (await post([body]))[0] == 400
    assert (await post([body], header, (b"stripe-signature", b"t=1,v1=0")))[0] == 400
    assert (await post([b"x" * LARGEST_BODY, b"x", b""], header))[0] == 413
    assert (await post([body], header, path="/stripe/webhook/3d6b1f2e-8d5c-4d0e-9d3e-0a4d6a2f9b11/"))[0] == 404
    assert not await EventReceipt.objects.aexists()


async def test_pages_still_answer_everything_else(story: Story) -> None:
    status, (_, text) = await post([b""], path="/stripe/webhook/other/")
    assert (status, b"<html" in text) == (404, True)


@pytest.mark.postgres(only=True)
def test_after_a_503_a_broken_connection_is_opened_again(story: Story) -> None:
    def told(event: Event) -> int:
        body, header = signed(event)
        return async_to_sync(post)([body], header)[0]

    assert told(story.failed()) == 200
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    answers = [told(story.completed()) for _ in range(3)]
    assert set(answers) <= {200, 503}
    assert answers[-1] == 200
    assert Payment.objects.get().status == PaymentStatus.PAID
