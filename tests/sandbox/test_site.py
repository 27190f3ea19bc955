"""Tests of a site that uses the sandbox: site and dj-stripe accept every event that Stripe's CLI and SDK cause."""

import ast
from collections.abc import Callable, Iterator
from contextlib import closing
from http.client import HTTPConnection
from urllib.parse import urlsplit

import pytest

from tests.live_site import LiveSite
from tests.sandbox.stripe_account import KEY, SECRET, Json, Receiver, StripeAccount, receiving
from tests.sandbox.stripe_cli import TRIGGERS, StripeCli
from tests.waits import wait_until

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]
SYNCED = {  # the expected number of objects by model of dj-stripe
    "Account": 1,
    "BalanceTransaction": 4,
    "Charge": 2,
    "Customer": 1,
    "Dispute": 1,
    "Event": 19,
    "PaymentIntent": 2,
    "PaymentMethod": 2,
    "Payout": 1,
    "Price": 2,
    "Product": 2,
    "Refund": 1,
    "Session": 2,
    "WebhookEndpoint": 2,  # one of them is created by the site
}


class Gate(Receiver):
    """A receiver that verifies each webhook with Stripe's SDK and forwards the webhook unchanged to a site."""

    site_url = ""

    def take(self, body: bytes, headers: dict[str, str]) -> int:
        verified = super().take(body, headers)
        if verified != 200:
            return verified
        with closing(HTTPConnection(urlsplit(self.site_url).netloc, timeout=60)) as site:
            site.request("POST", "/stripe/webhook/", body, headers)
            return site.getresponse().status


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    with receiving(gate):
        yield gate


@pytest.fixture
def site(make_site: Callable[..., LiveSite], gate: Gate) -> LiveSite:
    """Return a site whose webhooks go through `gate`. The site is not started yet."""
    options = ("--webhook-url", gate.url, "--settle-seconds", "1", "--balance-seconds", "600")
    made = make_site(start=False, sandbox_options=options, STRIPE_SECRET_KEY=KEY, STRIPE_WEBHOOK_SECRET=SECRET)
    gate.site_url = made.url
    return made


@pytest.fixture
def account(site: LiveSite, gate: Gate) -> StripeAccount:
    site.sandbox.start()
    return StripeAccount(site.sandbox_url, gate)


def finished_deliveries(account: StripeAccount) -> list[tuple[str, str, list[int | None]]]:
    """Wait until no delivery is pending; return (event type, state, status codes of the responses) of each."""

    def log() -> list[Json]:
        return account.deliveries(limit="5000")

    wait_until(lambda: not any(found["state"] in ("pending", "retrying") for found in log()), "everything is delivered")
    return [(found["type"], found["state"], [attempt["status"] for attempt in found["attempts"]]) for found in log()]


def counted(site: LiveSite) -> dict[str, int]:
    count = f"print({{name: getattr(models, name).objects.count() for name in {list(SYNCED)}}})"
    counts: dict[str, int] = ast.literal_eval(
        site.manage("shell", "--no-imports", "--command", f"from djstripe import models; {count}")
    )
    return counts


def test_the_site_accepts_every_webhook_of_every_trigger(
    site: LiveSite, gate: Gate, account: StripeAccount, cli: StripeCli
) -> None:
    site.server.start()
    for event_type in TRIGGERS:
        cli.run("trigger", event_type)
        account.wait_for(event_type)
    found = finished_deliveries(account)
    assert {event_type for event_type, *_ in found} >= set(TRIGGERS)
    assert [answer for answer in found if answer[1:] != ("delivered", [200])] == []
    assert gate.forged == []


def test_listen_forwards_to_a_site_that_knows_its_secret_too(
    site: LiveSite, account: StripeAccount, cli: StripeCli
) -> None:
    site.server.env["STRIPE_WEBHOOK_SECRET"] = f"{SECRET},{cli.secret()}"
    site.server.start()
    with cli.listening(f"{site.url}/stripe/webhook/"):
        account.paid()
        wait_until(lambda: len(account.deliveries(endpoint="stripe listen")) == 4, "the site answers all four")
    found = finished_deliveries(account)
    assert len(found) == 8  # four through the endpoint, and these four again through `listen`
    assert [answer for answer in found if answer[1:] != ("delivered", [200])] == []


def test_djstripe_syncs_every_model_and_webhooks_go_on(site: LiveSite, account: StripeAccount) -> None:
    site.server.start()
    paid = account.paid()
    account.v1.refunds.create({"payment_intent": paid["payment_intent"]["id"], "amount": 100})
    account.control("dispute", session=paid["session"]["id"])
    account.paid(outcome="processing")
    account.v1.customers.create({"name": "Camille Martin"})
    account.control("clock", advance=600)
    account.control("payout")
    account.control("clock", advance=600)
    site.manage("djstripe_sync_models", *SYNCED)  # raises if an object cannot be synced
    assert counted(site) == SYNCED
    account.paid()
    assert [answer for answer in finished_deliveries(account) if answer[1:] != ("delivered", [200])] == []


def test_checkout_bears_the_clinics_name(make_site: Callable[..., LiveSite]) -> None:
    site = make_site(start=False, CLINIC_NAME="Cabinet du Port", STRIPE_SECRET_KEY=KEY)
    site.sandbox.start()
    account = StripeAccount(site.sandbox_url, Receiver())
    assert account.v1.accounts.retrieve_current().business_profile.name == "Cabinet du Port"
