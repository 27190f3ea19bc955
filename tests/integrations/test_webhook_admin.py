"""Tests of the admin pages of webhook endpoints."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.test import Client
from pytest_django.fixtures import Settings

from accounts.models import User
from integrations.models import WebhookAttempt, WebhookEndpoint, WebhookMessage
from integrations.outgoing import outbox
from payments.models import Payment
from tests.integrations.receiver import Receiver, answers
from tests.integrations.test_outgoing import send, types
from tests.payments.stripe_story import Story, deliver

pytestmark = pytest.mark.django_db
PAGES = "/admin/clinic_integrations/webhookendpoint"


@pytest.fixture
def root(client: Client) -> Client:
    client.force_login(User.objects.create_superuser("root"), "accounts.backends.OneQueryBackend")
    client.cookies["django_language"] = "en"
    return client


def html_of(answer: Any) -> str:
    html: str = answer.content.decode()
    return html


def shown_secret(page: str) -> str:
    [secret] = re.findall(r"whsec_[A-Za-z0-9+/=]+", page)
    return str(secret)


def test_a_new_endpoint_shows_its_secret_once(root: Client) -> None:
    form = {"url": "https://example.com/hook", "description": "Accounting", "is_active": "on"}
    made = root.post(f"{PAGES}/add/", form | {"event_types": ["payment.paid", "payment.refunded"]})
    endpoint = WebhookEndpoint.objects.get()
    assert shown_secret(html_of(made)) == endpoint.readable_secret()
    assert "no-store" in made.headers["Cache-Control"]
    assert endpoint.event_types == ["payment.paid", "payment.refunded"]
    for page in (f"{PAGES}/", f"{PAGES}/{endpoint.pk}/change/", f"{PAGES}/{endpoint.pk}/history/"):
        assert "whsec_" not in html_of(root.get(page))


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/hook",
        "https://user:pass@example.com/",
        "https:///hook",
        "ftp://example.com",
        "https://example.com/#x",
        "https://exa mple.com/",
        "https://münchen.example/",
        "https://example.com:99999/",
        "https://0177.0.0.1/",
        "javascript:alert(1)",
    ],
)
def test_urls_that_no_message_can_go_to_are_refused(url: str, root: Client) -> None:
    page = root.post(f"{PAGES}/add/", {"url": url, "is_active": "on"})
    assert page.status_code == 200
    assert "errorlist" in html_of(page)
    assert not WebhookEndpoint.objects.exists()


def test_plain_http_is_accepted_where_networks_are_allowed(root: Client, loopback: None) -> None:
    root.post(f"{PAGES}/add/", {"url": "http://127.0.0.1:9/hook", "is_active": "on"})
    assert WebhookEndpoint.objects.get().url == "http://127.0.0.1:9/hook"


def test_a_rotation_shows_the_new_secret_once(root: Client, endpoint: WebhookEndpoint) -> None:
    old = endpoint.readable_secret()
    page = html_of(root.post(f"{PAGES}/{endpoint.pk}/rotate/"))
    endpoint.refresh_from_db()
    assert shown_secret(page) == endpoint.readable_secret() != old
    assert "also signed with the secret before" in page


def test_a_test_event_is_sent_and_its_answer_shown(root: Client, endpoint: WebhookEndpoint, receiver: Receiver) -> None:
    receiver.behaviours = [answers(200, b"thank you")]
    led = root.post(f"{PAGES}/{endpoint.pk}/test/")
    send()
    assert types(receiver) == ["endpoint.test"]
    receiver.requests[0].verify(endpoint.readable_secret())
    page = html_of(root.get(led.headers["Location"]))
    assert "thank you" in page
    assert "200" in page


def test_changes_are_told_again_from_a_number(
    root: Client, story: Story, endpoint: WebhookEndpoint, receiver: Receiver
) -> None:
    deliver(story.failed())
    deliver(story.completed())
    send()
    assert root.post(f"{PAGES}/{endpoint.pk}/again/", {"number": receiver.told()[1][1]}).status_code == 302
    send()
    assert types(receiver) == ["payment.failed", "payment.paid", "payment.paid"]
    page = root.post(f"{PAGES}/{endpoint.pk}/again/", {"number": "0"}, follow=True)
    assert "Enter a number above zero." in html_of(page)


def test_selected_messages_are_sent_again(
    root: Client, story: Story, endpoint: WebhookEndpoint, receiver: Receiver
) -> None:
    deliver(story.completed())
    send()
    [message] = WebhookMessage.objects.all()
    action = {"action": "send_again", "_selected_action": [message.pk]}
    root.post("/admin/clinic_integrations/webhookmessage/", action)
    send()
    assert types(receiver) == ["payment.paid"] * 2


def test_an_endpoint_that_is_made_active_again_begins_without_failures(root: Client, endpoint: WebhookEndpoint) -> None:
    endpoint.failed(0)
    endpoint.disable(WebhookEndpoint.Reason.FAILING)
    root.post(f"{PAGES}/{endpoint.pk}/change/", {"url": endpoint.url, "is_active": "on"})
    endpoint.refresh_from_db()
    assert (endpoint.is_active, endpoint.failures, endpoint.disabled_at, endpoint.paused_until) == (True, 0, None, None)


def test_what_receivers_answer_is_shown_as_text(root: Client, story: Story, endpoint: WebhookEndpoint) -> None:
    deliver(story.completed())
    outbox.queue()
    [message] = WebhookMessage.objects.all()
    WebhookAttempt.objects.create(message=message, status=500, milliseconds=1, answer="<script>alert(1)</script>")
    page = html_of(root.get(f"/admin/clinic_integrations/webhookmessage/{message.pk}/change/"))
    assert "&lt;script&gt;alert(1)" in page
    assert "<script>alert(1)" not in page


@pytest.mark.parametrize("act", ["rotate", "test", "again"])
def test_only_who_may_change_endpoints_does_something_with_them(
    act: str, client: Client, endpoint: WebhookEndpoint, settings: Settings
) -> None:
    viewer = User.objects.create_user("viewer", is_staff=True)
    viewer.user_permissions.set(Permission.objects.filter(codename__in=["view_webhookendpoint", "view_webhookmessage"]))
    client.force_login(viewer, "accounts.backends.OneQueryBackend")
    assert client.get(f"{PAGES}/{endpoint.pk}/change/").status_code == 200
    assert client.post(f"{PAGES}/{endpoint.pk}/{act}/", {"number": "1"}).status_code == 403
    assert client.get(f"{PAGES}/{endpoint.pk}/{act}/").status_code == 405
    assert not WebhookMessage.objects.exists()


def test_managers_do_not_see_endpoints(
    client: Client, endpoint: WebhookEndpoint, book: Callable[..., Payment], as_clerk: Client
) -> None:
    assert as_clerk.get(f"{PAGES}/").status_code in (302, 403)


def test_the_form_explains_the_event_types_in_the_reader_s_language(root: Client) -> None:
    assert "payment.paid: Paid" in html_of(root.get(f"{PAGES}/add/"))
    root.cookies["django_language"] = "fr"
    assert "payment.paid: Payé" in html_of(root.get(f"{PAGES}/add/"))
