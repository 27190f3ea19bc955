"""dj-stripe's copies of Stripe's objects, brought up to date by a worker of their own, never in Stripe's request."""

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
from .client import HTTP, RETRIES

logger = logging.getLogger(__name__)
BATCH = 100
stripe.default_http_client, stripe.max_network_retries = HTTP, RETRIES  # dj-stripe calls through the SDK's module

MODELS = {  # by the id's prefix
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
    """Ids of the objects that events told of since they were last copied."""
    return EventReceipt.objects.unmirrored().order_by().values_list("object_id", flat=True).distinct()


def refresh(limit: int = BATCH) -> tuple[int, int]:
    """Copy what is waiting. Returns how many succeeded and failed."""
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
    """Bring dj-stripe's copy of one object up to date. Raises stripe.StripeError.

    The lock is taken before the fetch, so that of two workers the later writes what it fetched later.
    """
    model = MODELS.get(object_id.split("_", 1)[0])
    with locked(object_id):
        seen = list(EventReceipt.objects.unmirrored().filter(object_id=object_id).values_list("pk", flat=True))
        if model is not None:
            key = settings.STRIPE_SECRET_KEY
            model.sync_from_stripe_data(model(id=object_id).api_retrieve(api_key=key), api_key=key)
        EventReceipt.objects.filter(pk__in=seen).update(mirrored_at=timezone.now())


@contextlib.contextmanager
def locked(object_id: str) -> Iterator[None]:
    """One worker at a time for one object, on PostgreSQL; with SQLite run a single worker."""
    if connection.vendor != "postgresql":
        yield
        return
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 1))", [object_id])
        yield
