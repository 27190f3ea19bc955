"""Tests of the sandbox with Stripe's command line."""

from collections.abc import Iterator

import pytest

from tests.sandbox.stripe_account import Receiver, StripeAccount, receiving
from tests.sandbox.stripe_cli import TRIGGERS, StripeCli
from tests.waits import wait_until


@pytest.mark.parametrize("event_type", TRIGGERS)
def test_trigger_makes_the_event_arrive(account: StripeAccount, cli: StripeCli, event_type: str) -> None:
    assert "Trigger succeeded" in cli.run("trigger", event_type)
    account.wait_for(event_type)
    assert account.receiver.forged == []


def test_events_are_resent(account: StripeAccount, cli: StripeCli) -> None:
    account.paid()
    account.wait_for("checkout.session.completed")
    event = account.v1.events.list({"type": "checkout.session.completed"}).data[0]
    endpoint = account.v1.webhook_endpoints.list().data[0]
    cli.run("events", "resend", event.id, "--webhook-endpoint", endpoint.id)
    wait_until(lambda: account.receiver.types.count("checkout.session.completed") == 2, "it is told twice")


@pytest.fixture
def forwarded(cli: StripeCli) -> Iterator[Receiver]:
    """Yield a receiver to which `stripe listen` forwards webhooks."""
    with receiving(Receiver(cli.secret())) as receiver, cli.listening(receiver.url):
        yield receiver


def test_listen_forwards_and_its_answers_are_recorded(account: StripeAccount, forwarded: Receiver) -> None:
    account.paid()
    wait_until(lambda: "checkout.session.completed" in forwarded.types, "it is forwarded")
    assert forwarded.forged == []
    wait_until(lambda: account.deliveries(endpoint="stripe listen", type="checkout.session.completed"), "it is told")
    answer = account.deliveries(endpoint="stripe listen", type="checkout.session.completed")[0]
    assert (answer["state"], answer["url"], answer["attempts"][0]["status"]) == ("delivered", forwarded.url, 200)


def test_the_secret_of_listen_outlives_a_reset(account: StripeAccount, cli: StripeCli) -> None:
    secret = cli.secret()
    account.control("reset", endpoints=True)
    assert cli.secret() == secret
