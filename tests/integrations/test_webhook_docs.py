"""Tests that docs/outgoing-webhooks.md agrees with the code."""

import json
import re
from typing import Any

import pytest

from integrations.models import WebhookEndpoint
from integrations.models.webhook_message import PAUSES
from payments_site.demo.site import ROOT
from tests.docs.page import take
from tests.integrations.receiver import Receiver
from tests.integrations.test_outgoing import send
from tests.payments.stripe_story import Story, deliver

pytestmark = pytest.mark.django_db
GUIDE = (ROOT / "docs/outgoing-webhooks.md").read_text()
EXAMPLE, RECEIVER = (block.text for block in take("docs/outgoing-webhooks.md"))


def test_the_example_has_the_fields_of_a_message(story: Story, endpoint: WebhookEndpoint, receiver: Receiver) -> None:
    deliver(story.completed())
    send()
    example, sent = json.loads(EXAMPLE), receiver.requests[0].message
    assert list(example) == list(sent)
    assert list(example["data"]) == list(sent["data"])


def test_the_guides_receiver_accepts_what_is_sent(story: Story, endpoint: WebhookEndpoint, receiver: Receiver) -> None:
    names: dict[str, Any] = {}
    exec(compile(RECEIVER, "guide", "exec"), names)  # noqa: S102 - our own document
    receive = names["receive"]
    stored: dict[str, dict[str, Any]] = {}
    for event in (story.failed(), story.completed()):
        deliver(event)
    send()
    secret = endpoint.readable_secret()
    first, second = receiver.requests
    for each in (first, second, first):
        assert receive(secret, each.headers, each.body.encode(), stored) == 204
    assert stored[str(story.payment.public_id)]["status"] == "paid"
    assert receive(secret, first.headers, second.body.encode(), stored) == 400
    assert receive("whsec_" + "A" * 44, first.headers, first.body.encode(), stored) == 400


def test_the_guide_tells_the_pauses() -> None:
    assert (5, 5 * 60, 30 * 60, *(hours * 3600 for hours in (2, 5, 10, 14, 20, 24))) == PAUSES
    assert re.search(r"after 5 seconds, 5 and 30 minutes, 2, 5, 10, 14, 20 and 24 hours", GUIDE)
