"""dj-stripe's own sync reads the sandbox as it reads Stripe."""

from io import StringIO

import pytest
import stripe
from django.core.management import call_command
from djstripe import models

from tests.sandbox.stripe_account import KEY, StripeAccount

MODELS = {
    "Account": 1,
    "BalanceTransaction": 3,
    "Charge": 2,
    "Customer": 1,
    "Dispute": 1,
    "Event": 15,
    "PaymentIntent": 2,
    "PaymentMethod": 2,
    "Price": 2,
    "Product": 2,
    "Refund": 1,
    "Session": 2,
    "WebhookEndpoint": 1,
}


@pytest.mark.django_db
def test_sync_models_reads_every_object_without_a_complaint(
    account: StripeAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stripe, "api_base", account.url)
    monkeypatch.setattr(stripe, "api_key", KEY)
    models.APIKey.objects.create(secret=KEY, type="secret", livemode=False)
    paid = account.paid()
    account.v1.refunds.create({"payment_intent": paid["payment_intent"]["id"], "amount": 100})
    account.control("dispute", session=paid["session"]["id"])
    account.paid(outcome="processing")
    account.v1.customers.create({"name": "Camille Martin"})
    complaints = StringIO()
    call_command("djstripe_sync_models", *MODELS, api_keys=[KEY], stdout=StringIO(), stderr=complaints)
    assert complaints.getvalue() == ""
    assert {name: getattr(models, name).objects.count() for name in MODELS} == MODELS
