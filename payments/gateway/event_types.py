"""Lists the Stripe event types that this site handles, and converts events to facts (states of Stripe objects)."""

from collections.abc import Mapping

from ..domain.facts import Json, StripeFact
from .objects import (
    MalformedObjectError,
    Reader,
    charge_with_refunds,
    checkout_facts,
    from_dispute,
    from_payment_method,
    from_payout,
    from_refund,
    from_session,
    intent_facts,
    one_fact,
    read_time,
    setup_facts,
)

# The event types that are applied, each with the reader of its object. `stripe listen --events` takes the same list.
EVENT_READERS: dict[str, Reader] = {
    "checkout.session.completed": checkout_facts,
    "checkout.session.expired": checkout_facts,
    "checkout.session.async_payment_succeeded": one_fact(from_session),
    "checkout.session.async_payment_failed": lambda obj, as_of: [from_session(obj, as_of, failed=True)],
    "payment_intent.succeeded": intent_facts,
    "payment_intent.payment_failed": intent_facts,
    "payment_intent.processing": intent_facts,
    "payment_intent.requires_action": intent_facts,
    "payment_intent.canceled": intent_facts,
    "charge.succeeded": charge_with_refunds,
    "charge.updated": charge_with_refunds,  # its balance transaction, with Stripe's fee, is known now
    "charge.refunded": charge_with_refunds,
    "charge.refund.updated": one_fact(from_refund),
    "charge.dispute.created": one_fact(from_dispute),
    "charge.dispute.updated": one_fact(from_dispute),
    "charge.dispute.closed": one_fact(from_dispute),
    "refund.created": one_fact(from_refund),
    "refund.updated": one_fact(from_refund),
    "refund.failed": one_fact(from_refund),
    # These change no payment: `manage.py mirror` copies the payout when one arrives.
    "payout.created": from_payout,
    "payout.updated": from_payout,
    "payout.paid": from_payout,
    "payout.failed": from_payout,
    "payout.canceled": from_payout,
    "payout.reconciliation_completed": from_payout,
    "setup_intent.succeeded": setup_facts,
    "setup_intent.setup_failed": setup_facts,
    "setup_intent.canceled": setup_facts,
    "payment_method.detached": one_fact(from_payment_method),
}


def from_event(event: Json) -> list[StripeFact]:
    """Convert the Stripe object in a webhook event to a list of facts: the states of it and of any refunds in it.

    The list is empty if this site doesn't handle the event's type, and for a payout. Raises MalformedObjectError.
    """
    reader = EVENT_READERS.get(str(event.get("type")))
    if reader is None:
        return []
    obj = object_of(event)
    if not obj:
        raise MalformedObjectError("data.object is missing")
    return reader(obj, read_time(event, "created"))


def object_of(event: Json) -> Json:
    """Return the Stripe object that the event is about, or {} if the event holds none."""
    data = event.get("data")
    obj = data.get("object") if isinstance(data, Mapping) else None
    return obj if isinstance(obj, Mapping) else {}
