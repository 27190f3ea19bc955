"""What dj-stripe keeps of who paid, and taking it out."""

from collections.abc import Collection
from typing import Any

from django.db.models import JSONField
from djstripe.models import (
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

# Field names, anywhere in Stripe's objects, whose values name or describe a person or their card.
PERSONAL = frozenset((
    "name", "email", "phone", "address", "receipt_email", "customer_email", "receipt_url", "description", "last4",
    "fingerprint",
))  # fmt: skip
COPIES = (Event, Session, PaymentIntent, Charge, Refund, Dispute, PaymentMethod, Customer)


def forget_payers(stripe_ids: Collection[str]) -> int:
    """Empty those fields in the copies of these objects and events, and of the payer's own; how many there were."""
    ids = set(stripe_ids)
    for model in (Session, PaymentIntent, Charge):
        for data in model.objects.filter(id__in=stripe_ids).values_list("stripe_data", flat=True):
            ids |= {data[name] for name in ("customer", "payment_method") if isinstance(data.get(name), str)}
    forgotten = 0
    for model in COPIES:
        columns = [field.name for field in model._meta.concrete_fields if isinstance(field, JSONField)]
        for row in model.objects.filter(id__in=ids):
            model.objects.filter(pk=row.pk).update(**{name: without_person(getattr(row, name)) for name in columns})
            forgotten += 1
    return forgotten + int(WebhookEventTrigger.objects.filter(event__id__in=ids).delete()[0])


def without_person(value: Any) -> Any:
    """A Stripe object's JSON with everything personal set to null; it can still be replayed."""
    if isinstance(value, dict):
        return {key: None if key in PERSONAL else without_person(inner) for key, inner in value.items()}
    return [without_person(inner) for inner in value] if isinstance(value, list) else value
