"""Tests that a sandbox left running keeps a limited number of objects."""

import pytest

from stripe_sandbox import checkout, store
from stripe_sandbox.sandbox import Sandbox

SESSION = {
    "success_url": "http://127.0.0.1:1/done",
    "line_items": [
        {
            "price_data": {"currency": "eur", "unit_amount": "6000", "product_data": {"name": "Consultation"}},
            "quantity": "1",
        }
    ],
}


def test_the_oldest_objects_go_and_take_what_belongs_to_them_along(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "LIMIT", 3)
    sandbox = Sandbox()
    made = [checkout.create(sandbox, SESSION)["id"] for _ in range(5)]
    assert list(sandbox.store.objects["checkout.session"]) == made[2:]
    assert list(sandbox.store.private) == made[2:]
    assert len(sandbox.store.objects["product"]) == 3
