"""Tests of the webhook view and the rows that it stores. Hostile deliveries are tested in tests/inputs."""

import json
import uuid
from typing import Any

import pytest
import time_machine
from django.conf import settings as site_settings
from django.test import Client
from django.utils import timezone
from djstripe.models import Account, WebhookEndpoint, WebhookEventTrigger
from djstripe.models import Event as DjstripeEvent
from pytest_django.fixtures import Settings

from payments.gateway import background, djstripe
from payments.gateway.event_types import EVENT_READERS
from payments.gateway.signatures import LARGEST_BODY
from payments.models import EventReceipt, Fact, Payment
from tests.payments.faults import broken_ledger
from tests.payments.stripe_story import Story, deliver, sign

pytestmark = pytest.mark.django_db
SECRET = site_settings.STRIPE_WEBHOOK_SECRETS[0]


def assert_nothing_stored() -> None:
    for model in (EventReceipt, Fact, DjstripeEvent, WebhookEventTrigger):
        assert not model.objects.exists(), model


@pytest.mark.parametrize("method", ["get", "head", "put", "delete", "patch", "options"])
def test_only_post_is_allowed(client: Client, method: str) -> None:
    response = getattr(client, method)("/stripe/webhook/")
    assert response.status_code == 405
    assert response.headers["Allow"] == "POST"


def test_a_body_that_is_too_large_is_refused_before_it_is_checked() -> None:
    response = deliver("x" * (LARGEST_BODY + 1))
    assert response.status_code == 413
    assert_nothing_stored()


def test_a_forged_secret_header_is_ignored_even_with_debug(story: Story, settings: Settings) -> None:
    settings.DEBUG = True
    event = json.dumps(story.completed())
    headers = {"Stripe-Signature": sign(event, "whsec_mine"), "X-Djstripe-Webhook-Secret": "whsec_mine"}
    assert deliver(event, headers=headers).status_code == 400
    assert_nothing_stored()


def test_djstripe_records_the_delivery_and_the_event(story: Story) -> None:
    event = story.completed()
    deliver(event)
    deliver(event)
    assert background.store_waiting_events() == (1, [])
    trigger = WebhookEventTrigger.objects.get()
    assert (trigger.valid, trigger.processed, trigger.event.id) == (True, True, event["id"])
    assert djstripe.as_event(trigger.event) == event


def test_a_failed_delivery_is_recorded_with_its_error(story: Story) -> None:
    with broken_ledger():
        response = deliver(story.completed(), Client(raise_request_exception=False))
    assert response.status_code == 500
    trigger = WebhookEventTrigger.objects.get()
    assert (trigger.processed, trigger.exception, trigger.event) == (False, "ZeroDivisionError", None)


@pytest.mark.django_db(transaction=True)
def test_a_deleted_endpoint_is_made_again(story: Story) -> None:
    djstripe.find_endpoint(None)
    WebhookEndpoint.objects.all().delete()
    assert deliver(story.completed()).content == b"applied"
    assert WebhookEventTrigger.objects.get().webhook_endpoint == djstripe.default_endpoint()


@pytest.mark.parametrize("slash", ["", "/"])
def test_the_url_works_with_and_without_its_last_slash(story: Story, slash: str) -> None:
    endpoint = djstripe.bootstrap()
    body = json.dumps(story.completed())
    headers = {"Stripe-Signature": sign(body, SECRET)}
    for path in ("/stripe/webhook", f"/stripe/webhook/{endpoint.djstripe_uuid}"):
        response = Client().post(path + slash, body, "application/json", headers=headers)
        assert response.status_code == 200


def test_an_unknown_endpoint_is_not_found(story: Story) -> None:
    body = json.dumps(story.completed())
    headers = {"Stripe-Signature": sign(body, SECRET)}
    assert (
        Client().post(f"/stripe/webhook/{uuid.uuid4()}/", body, "application/json", headers=headers).status_code == 404
    )
    assert_nothing_stored()


def post_to(endpoint: WebhookEndpoint, event: dict[str, object]) -> Any:
    body, path = json.dumps(event), f"/stripe/webhook/{endpoint.djstripe_uuid}/"
    headers = {"Stripe-Signature": sign(body, endpoint.secret)}
    return Client().post(path, body, "application/json", headers=headers)


@pytest.fixture
def endpoint(db: None) -> WebhookEndpoint:
    """Return a webhook endpoint that isn't the default one, as dj-stripe's admin makes it, with its own secret."""
    account = djstripe.bootstrap().djstripe_owner_account
    row = {"id": "we_1", "secret": "whsec_of_this_row", "url": "http://testserver/", "enabled_events": ["*"]}
    return WebhookEndpoint.objects.create(**row, livemode=False, status="enabled", djstripe_owner_account=account)


def test_an_endpoint_signs_with_its_own_secret(story: Story, endpoint: WebhookEndpoint) -> None:
    assert post_to(endpoint, story.completed()).content == b"applied"
    assert WebhookEventTrigger.objects.get().webhook_endpoint == endpoint


INACTIVE = [{"status": "disabled"}, {"livemode": True}, {"livemode": None}, {"secret": ""}]


@pytest.mark.parametrize("change", INACTIVE, ids=str)
def test_an_endpoint_that_is_off_or_of_the_other_mode_is_refused(
    story: Story, endpoint: WebhookEndpoint, change: dict[str, object]
) -> None:
    WebhookEndpoint.objects.filter(pk=endpoint.pk).update(**change)
    endpoint.refresh_from_db()
    assert post_to(endpoint, story.completed()).status_code == 400
    assert_nothing_stored()


def test_an_endpoint_of_another_account_is_refused(story: Story, endpoint: WebhookEndpoint) -> None:
    endpoint.djstripe_owner_account = Account.objects.create(id="acct_another")
    endpoint.save()
    assert post_to(endpoint, story.completed()).status_code == 400
    assert_nothing_stored()


def test_switching_off_the_default_endpoint_is_noticed_within_seconds(story: Story, endpoint: WebhookEndpoint) -> None:
    default = WebhookEndpoint.objects.filter(djstripe_uuid=djstripe.DEFAULT_ENDPOINT)
    with time_machine.travel(timezone.now(), tick=False) as clock:
        assert deliver(story.requires_action()).content == b"applied"
        default.update(status="disabled")
        clock.shift(djstripe.KNOWN_SECONDS + 1)
        assert deliver(story.completed()).status_code == 400
        assert post_to(endpoint, story.completed()).content == b"applied"
    assert EventReceipt.objects.count() == 2


def test_the_default_endpoint_follows_the_sites_mode(payment: Payment, settings: Settings) -> None:
    """A site that goes live accepts live events, although its database has an endpoint row made in test mode."""
    djstripe.bootstrap()
    settings.STRIPE_LIVE_MODE = True
    assert deliver(Story(payment, livemode=True).completed()).content == b"applied"
    assert djstripe.default_endpoint().livemode


def test_djstripes_syncing_receivers_are_off_for_every_type_that_it_knows() -> None:
    """dj-stripe's receivers that call Stripe's API are switched off, so that no webhook's transaction waits for Stripe.

    They are switched off by name: an upgrade of dj-stripe that renames them makes this test fail.
    """
    from djstripe.signals import WEBHOOK_SIGNALS

    syncing = {receiver.__name__ for receiver in djstripe.SYNCING_RECEIVERS}
    for event_type in EVENT_READERS.keys() & WEBHOOK_SIGNALS.keys():
        live, _ = WEBHOOK_SIGNALS[event_type]._live_receivers(DjstripeEvent)
        assert not syncing & {receiver.__name__ for receiver in live}, event_type
    known = {"checkout.session.completed", "payment_intent.succeeded", "charge.refunded", "charge.dispute.created"}
    assert known <= WEBHOOK_SIGNALS.keys()
