"""Updates dj-stripe's copies of Stripe's objects, in a separate process so that webhooks don't wait for Stripe."""

import contextlib
from collections.abc import Iterator
from functools import partial

from django.db import connection, transaction
from django.db.models import QuerySet
from django.utils import timezone
from djstripe.models import Charge, Dispute, PaymentIntent, Refund, Session

from ..conf import app_settings
from ..models import EventReceipt
from .client import ask
from .payouts import copy_payout, link_sources

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


def copy(object_id: str) -> None:
    """Fetch an object from Stripe, update dj-stripe's copy of it, and mark its events' EventReceipt rows as copied.

    Raises StripeUnavailableError and StripeRefusedError.
    """
    ask(partial(_copy, object_id))


def _copy(object_id: str) -> None:
    """Do the work of `copy`, with the object's id locked, so that an older answer never overwrites a newer one."""
    prefix = object_id.split("_", 1)[0]
    model = MODELS.get(prefix)
    with locked(object_id):
        receipts = list(EventReceipt.objects.unmirrored().filter(object_id=object_id).values_list("pk", flat=True))
        if prefix == "po":
            copy_payout(object_id)
        elif model is not None:
            key = app_settings.STRIPE_SECRET_KEY
            row = model.sync_from_stripe_data(model(id=object_id).api_retrieve(api_key=key), api_key=key)
            link_sources(row.stripe_data)
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
