"""Erases payers' personal data from dj-stripe's tables."""

import json
from collections.abc import Collection, Set
from typing import Any

from django.db.models import JSONField
from djstripe.models import (
    BalanceTransaction,
    Charge,
    Customer,
    Dispute,
    Event,
    PaymentIntent,
    PaymentMethod,
    Refund,
    Session,
    WebhookEventTrigger,
)

from ..models import BalanceLink
from .djstripe import bodies

# Field names, anywhere in Stripe's objects, whose values name or describe a person or their card.
PERSONAL = frozenset((
    "name", "email", "phone", "address", "receipt_email", "customer_email", "receipt_url", "description", "last4",
    "fingerprint",
))  # fmt: skip
COPIES = (Event, Session, PaymentIntent, Charge, Refund, Dispute, BalanceTransaction, PaymentMethod, Customer)


def forget_payers(known_ids: Collection[str]) -> int:
    """Erase payers' personal data from dj-stripe's tables, and return how many rows were changed or deleted.

    `known_ids` are ids of Stripe's objects and events and of payments. In the rows about them, in the rows of their
    balance transactions, and in the payers' Customer and PaymentMethod rows, the fields named in PERSONAL become null.
    Webhook deliveries with an Event row are deleted; in the bodies of other deliveries the fields become null.
    """
    ids = set(known_ids)
    ids |= set(BalanceLink.objects.filter(source_id__among=list(known_ids)).values_list("stripe_id", flat=True))
    for model in (Session, PaymentIntent, Charge):
        for data in model.objects.filter(id__in=known_ids).values_list("stripe_data", flat=True):
            ids |= {data[name] for name in ("customer", "payment_method") if isinstance(data.get(name), str)}
    forgotten = 0
    for model in COPIES:
        columns = [field.name for field in model._meta.concrete_fields if isinstance(field, JSONField)]
        for row in model.objects.filter(id__in=ids):
            model.objects.filter(pk=row.pk).update(**{name: without_person(getattr(row, name)) for name in columns})
            forgotten += 1
    forgotten += int(WebhookEventTrigger.objects.filter(event__id__in=ids).delete()[0])
    return forgotten + _forget_in_bodies(ids)


def _forget_in_bodies(ids: Set[str]) -> int:
    """Set personal fields to null in webhook bodies that mention one of `ids` and have no Event row.

    The fields are named in PERSONAL. The bodies are kept, because their events may still be replayed. Return how many
    bodies were changed.
    """
    forgotten = 0
    for events in bodies(WebhookEventTrigger.objects.all()):
        for key, event in events.items():
            if _mentions(event, ids):
                WebhookEventTrigger.objects.filter(pk=key).update(body=json.dumps(without_person(event)))
                forgotten += 1
    return forgotten


def _mentions(value: Any, ids: Set[str]) -> bool:
    """Return whether a JSON value contains one of `ids`, at any depth."""
    if isinstance(value, dict | list):
        return any(_mentions(inner, ids) for inner in (value.values() if isinstance(value, dict) else value))
    return isinstance(value, str) and value in ids


def without_person(value: Any) -> Any:
    """Return a copy of Stripe's JSON in which the fields named in PERSONAL are null.

    A copy of an event can still be replayed.
    """
    if isinstance(value, dict):
        return {key: None if key in PERSONAL else without_person(inner) for key, inner in value.items()}
    return [without_person(inner) for inner in value] if isinstance(value, list) else value
