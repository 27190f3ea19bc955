"""Tests that each of the sandbox's objects has the keys and JSON types of Stripe's example of that object."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.sandbox.stripe_account import Json, StripeAccount

FIXTURES = Path(__file__).resolve().parents[3] / "shared" / "stripe" / "fixtures3.json"

pytestmark = pytest.mark.skipif(
    not FIXTURES.exists(), reason=f"Stripe's example objects are not part of this repository; put them at {FIXTURES}"
)

# Deliberate differences from Stripe's examples: the key's path, and the reason.
EXTRA = {
    "refund.destination_details.card.reference": "Stripe documents it for card refunds; the example has none",
    "refund.destination_details.card.reference_status": "as above",
    "refund.destination_details.card.reference_type": "as above",
    "account.capabilities.sepa_debit_payments": "this account takes SEPA debits",
}
MISSING = {
    "charge.refunds": "only when expanded, since API version 2022-11-15",
}


LISTS = (
    *("balance_transactions", "charges", "checkout/sessions", "customers", "disputes", "events", "payment_intents"),
    *("payment_methods", "payouts", "prices", "products", "refunds", "setup_intents", "webhook_endpoints"),
)


def kind(value: Any) -> str:
    return "number" if isinstance(value, (int, float)) and not isinstance(value, bool) else type(value).__name__


def differences(path: str, ours: Any, theirs: Any) -> list[str]:
    """Return a line for each key or JSON type that differs between `ours` and `theirs`, the values at `path`.

    Null equals any value; an empty list equals any list, and an empty object any object.
    """
    if ours is None or theirs is None:
        return []
    if kind(ours) != kind(theirs):
        return [f"{path}: {kind(ours)}, Stripe has {kind(theirs)}"]
    if isinstance(ours, list):
        return differences(f"{path}[]", ours[0], theirs[0]) if ours and theirs else []
    if not isinstance(ours, dict) or not ours or not theirs or path.endswith(("metadata", "data.object")):
        return []
    extra = [f"{path}.{key}: extra" for key in ours if key not in theirs and f"{path}.{key}" not in EXTRA]
    missing = [f"{path}.{key}: missing" for key in theirs if key not in ours and f"{path}.{key}" not in MISSING]
    both = [found for key in ours if key in theirs for found in differences(f"{path}.{key}", ours[key], theirs[key])]
    return [*extra, *missing, *both]


@pytest.fixture
def served(account: StripeAccount) -> dict[str, Json]:
    """Make the sandbox create objects of all types, such as a payment and a dispute; return {type: one such object}."""
    paid = account.paid()
    account.v1.refunds.create({"payment_intent": paid["payment_intent"]["id"], "amount": 100})
    account.control("dispute", session=paid["session"]["id"])
    account.v1.customers.create({"name": "Camille Martin", "email": "camille@example.com"})
    account.control("clock", advance=600)
    account.control("payout")
    account.v1.setup_intents.create({"payment_method": "pm_card_visa", "confirm": True})
    found = [account.get("account"), *(account.get(f"{path}?limit=1")["data"][0] for path in LISTS)]
    found.append(account.get(f"checkout/sessions/{paid['session']['id']}/line_items")["data"][0])
    found.append(account.get("payouts?expand[]=data.destination")["data"][0]["destination"])
    return {item["object"]: item for item in found}


def test_every_object_has_the_shape_of_stripes_example(served: dict[str, Json]) -> None:
    examples = json.loads(FIXTURES.read_text())["resources"]
    assert len(served) == 17
    found = [line for name, ours in served.items() for line in differences(name, ours, examples[name])]
    assert found == []
