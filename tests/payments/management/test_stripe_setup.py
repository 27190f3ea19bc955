"""Tests of the command stripe_setup, with the sandbox as Stripe."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import stripe as sdk
from django.core.management import CommandError, call_command
from djstripe.models import APIKey
from pytest_django.fixtures import Settings

from payments.conf import PaymentsSettings
from payments.gateway.event_types import EVENT_READERS
from payments.gateway.rights import RIGHTS
from payments.models import Payment
from tests.payments.sandbox import StripeAtHome, open_checkout

pytestmark = pytest.mark.django_db
URL = "http://testserver/stripe/webhook/"
SECRET = re.compile(r"whsec_\w{32}")
Run = Callable[..., str]


@pytest.fixture(autouse=True)
def account(stripe: StripeAtHome, settings: Settings) -> Iterator[None]:
    """Set the sandbox's account in the settings, and leave it without webhook endpoints."""
    settings.STRIPE_ACCOUNT_ID = "acct_1SandboxTestAccount"
    stripe.do("reset", endpoints=True)
    yield
    stripe.do("reset", endpoints=True)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], settings: Settings) -> Run:
    """Return a function that runs stripe_setup and returns what it prints; it fails if the API key is printed."""

    def run(*options: str, different: bool = False) -> str:
        refused = ""
        try:
            call_command("stripe_setup", *options)
        except CommandError as error:
            refused = str(error)
        said = capsys.readouterr().out + refused
        assert bool(refused) == different, said
        assert settings.STRIPE_SECRET_KEY not in said
        return said

    return run


@pytest.fixture
def v1(stripe: StripeAtHome, settings: Settings) -> Any:
    return sdk.StripeClient(settings.STRIPE_SECRET_KEY, base_addresses={"api": stripe.url}).v1


def answer(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr("builtins.input", lambda question: text)


def test_the_endpoint_is_made_once_and_its_secret_is_printed_once(run: Run, stripe: StripeAtHome) -> None:
    said = run("--yes")
    [made] = stripe.listed("webhook_endpoints")
    assert (made["url"], made["api_version"]) == (URL, sdk.api_version)
    assert made["enabled_events"] == list(EVENT_READERS)
    assert SECRET.search(said)
    again = run()
    assert "enabled and sends the event types" in again
    assert not SECRET.search(again)
    assert stripe.listed("webhook_endpoints") == [made]


def test_nothing_is_changed_without_consent(run: Run, stripe: StripeAtHome, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "no endpoint for this site" in run("--dry-run", different=True)
    answer(monkeypatch, "n")
    run(different=True)
    assert stripe.listed("webhook_endpoints") == []
    answer(monkeypatch, "y")
    run()
    assert len(stripe.listed("webhook_endpoints")) == 1


def test_what_differs_is_named_and_corrected(run: Run, stripe: StripeAtHome, v1: Any) -> None:
    made = v1.webhook_endpoints.create({"url": URL, "enabled_events": ["charge.succeeded", "plan.created"]})
    said = run("--dry-run", different=True)
    assert "does not send: charge.dispute.closed" in said
    assert "sends what this site ignores: plan.created." in said
    v1.webhook_endpoints.update(made.id, {"disabled": True})
    assert "It is disabled" in run("--dry-run", different=True)
    run("--yes")
    [now] = stripe.listed("webhook_endpoints")
    assert (now["id"], now["status"], now["enabled_events"]) == (made.id, "enabled", list(EVENT_READERS))


def test_other_sites_endpoints_are_left_alone(run: Run, stripe: StripeAtHome, v1: Any) -> None:
    other = v1.webhook_endpoints.create({"url": "https://other.example/hook", "enabled_events": ["*"]})
    assert "It sends events to other.example." in run("--yes")
    run("--yes")
    assert {each["url"]: each["enabled_events"] for each in stripe.listed("webhook_endpoints")} == {
        other.url: ["*"],
        URL: list(EVENT_READERS),
    }


def test_an_endpoint_with_an_old_version_gets_a_successor(run: Run, stripe: StripeAtHome) -> None:
    stripe.do("webhook_endpoints", url=URL, events=list(EVENT_READERS), api_version="2024-09-30.acacia")
    said = run("--yes")
    assert "2024-09-30.acacia has no events about most refunds" in said
    assert "before the secret that is there" in said
    assert len(stripe.listed("webhook_endpoints")) == 2
    assert "each event comes twice" in run()


def test_an_old_endpoint_stays_until_the_site_accepts_the_new_one(
    run: Run, stripe: StripeAtHome, payment: Payment
) -> None:
    run("--yes")
    assert "There is no older endpoint" in run("--delete-old", "--yes")
    stripe.do("clock", advance=60)
    assert SECRET.search(run("--new-secret", "--yes"))
    stripe.do("clock", advance=60)
    stripe.do("expire", session=open_checkout(payment))  # nothing listens at the endpoints' address
    assert "its secret may not be set" in run("--delete-old", "--yes", different=True)
    assert len(stripe.listed("webhook_endpoints")) == 2


def test_a_restricted_key_without_a_right_is_told(run: Run, stripe: StripeAtHome, settings: Settings) -> None:
    settings.STRIPE_SECRET_KEY = "rk_test_" + "0" * 24
    run("--yes")
    assert run().count("  ok       ") == len(RIGHTS)
    stripe.do("api", mode="403", match="/v1/refunds", method="POST")
    said = run(different=True)
    assert "MISSING  Charges and Refunds: write, for refunds; reading charges; Stripe names it rak_charge_write" in said
    assert said.count("MISSING") == 1
    stripe.do("api", mode="403", match="/v1/payouts")
    assert "MISSING  Payouts: read" in run(different=True)
    assert stripe.events() == []


def test_a_key_that_stripe_does_not_know_ends_the_command(run: Run, stripe: StripeAtHome, settings: Settings) -> None:
    settings.STRIPE_SECRET_KEY = "rk_test_" + "0" * 24
    stripe.do("api", mode="401")
    assert "Stripe refuses (authentication_error)" in run(different=True)


def test_another_accounts_key_changes_nothing(run: Run, stripe: StripeAtHome, settings: Settings) -> None:
    settings.STRIPE_ACCOUNT_ID = "acct_another"
    assert "set STRIPE_ACCOUNT_ID=acct_1SandboxTestAccount" in run("--yes", different=True)
    assert stripe.listed("webhook_endpoints") == []
    assert not APIKey.objects.exists()


def test_dj_stripe_learns_whose_the_key_is(run: Run, settings: Settings) -> None:
    run("--yes")
    assert APIKey.objects.get(secret=settings.STRIPE_SECRET_KEY).djstripe_owner_account_id == settings.STRIPE_ACCOUNT_ID


def test_an_earlier_key_is_forgotten(run: Run, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    run("--yes")
    settings.STRIPE_SECRET_KEY = "sk_test_" + "1" * 24
    answer(monkeypatch, "n")
    assert "still holds an earlier API key" in run(different=True)
    assert APIKey.objects.count() == 2
    answer(monkeypatch, "y")
    run()
    assert APIKey.objects.get().secret == settings.STRIPE_SECRET_KEY


def test_stripe_is_not_told_to_send_to_this_machine(
    run: Run, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.CLINIC_SITE_URL = "http://127.0.0.1:8000"
    monkeypatch.setattr(PaymentsSettings, "real_stripe", True)  # the sandbox stands in for Stripe itself
    assert "stripe listen" in run("--yes", different=True)


def test_every_request_of_the_site_has_its_right() -> None:
    """The SDK's resources that the code calls, and the lists that it fetches, are those whose rights are tried."""
    gateway = Path(__file__).parents[3] / "payments"
    source = "".join(path.read_text() for path in gateway.rglob("*.py") if path.name != "rights.py")
    used = set(re.findall(r"stripe\.v1\.([\w.]+)\.\w+\(", source)) | set(re.findall(r'listed\("(\w+)"', source))
    tried = (gateway / "gateway" / "rights.py").read_text()
    assert used - set(re.findall(r"v1\.([\w.]+)\.\w+\(", tried)) == set()
