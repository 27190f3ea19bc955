"""Updates dj-stripe's copies of Stripe's objects, in a separate process so that webhooks don't wait for Stripe."""

import contextlib
import logging
from collections.abc import Iterator

import stripe
from django.conf import settings
from django.db import connection, transaction
from django.db.models import QuerySet
from django.utils import timezone
from djstripe.models import Charge, Dispute, PaymentIntent, Refund, Session

from ..models import EventReceipt

logger = logging.getLogger(__name__)
BATCH = 100

MODELS = {  # dj-stripe's model, by the prefix of the Stripe id
    "cs": Session,
    "pi": PaymentIntent,
    "ch": Charge,
    "py": Charge,
    "re": Refund,
    "pyr": Refund,
    "dp": Dispute,
    "du": Dispute,
}


def waiting() -> QuerySet[EventReceipt, str]:
    """Return the ids of Stripe's objects that have had an event since dj-stripe last copied them."""
    return EventReceipt.objects.unmirrored().order_by().values_list("object_id", flat=True).distinct()


def refresh(limit: int = BATCH) -> tuple[int, int]:
    """Update up to `limit` of dj-stripe's outdated copies. Return how many updates succeeded and how many failed."""
    done = failed = 0
    for object_id in list(waiting()[:limit]):
        try:
            copy(object_id)
            done += 1
        except stripe.StripeError as error:
            failed += 1
            logger.warning("mirror_failed", extra={"stripe_id": object_id, "error": type(error).__name__})
    return done, failed


def copy(object_id: str) -> None:
    """Fetch a Stripe object from Stripe's API, and update the row in dj-stripe's tables that is a copy of this object.

    Then mark the EventReceipt rows of the object's events as copied. Other workers that copy the same object wait
    meanwhile, so that an older answer of Stripe never overwrites a newer one. Raises stripe.StripeError.
    """
    model = MODELS.get(object_id.split("_", 1)[0])
    with locked(object_id):
        receipts = list(EventReceipt.objects.unmirrored().filter(object_id=object_id).values_list("pk", flat=True))
        if model is not None:
            key = settings.STRIPE_SECRET_KEY
            model.sync_from_stripe_data(model(id=object_id).api_retrieve(api_key=key), api_key=key)
        EventReceipt.objects.filter(pk__in=receipts).update(mirrored_at=timezone.now())


@contextlib.contextmanager
def locked(object_id: str) -> Iterator[None]:
    """Lock the Stripe object with this id until the `with` block ends, so that only one worker at a time copies it.

    On SQLite there is no such lock, so run only one worker.
    """
    if connection.vendor != "postgresql":
        yield
        return
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 1))", [object_id])
        yield
