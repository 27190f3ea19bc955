"""Jobs of `manage.py sweep`: ask Stripe about payments that have stopped changing, and finish interrupted work."""

import datetime
from dataclasses import replace

from django.db.models import Q, QuerySet
from django.utils import timezone

from .. import ledger
from ..domain.attempts import attempts_of
from ..domain.facts import Kind
from ..domain.status import PaymentStatus
from ..ledger import Cause, Source
from ..models import EventReceipt, Fact, Payment
from . import refunds
from .checkout import wrong_sessions
from .reconcile import ask_stripe
from .refunds import NotRefundableError
from .retrieve import everything_about

Outcome = EventReceipt.Outcome
STUCK_AFTER = datetime.timedelta(days=10)  # SEPA debits usually take a week, at most 14 working days
GIVE_UP_AFTER = datetime.timedelta(days=3)  # Stripe also stops resending an event after three days
UNANSWERED_AFTER = datetime.timedelta(minutes=1)  # Stripe's answer to a refund takes seconds


def standing_still(quiet_for: datetime.timedelta) -> QuerySet[Payment]:
    """Return payments that haven't changed for `quiet_for` here but may have changed at Stripe.

    These are payments in progress, and payments of which only refunds are recorded.
    """
    evidence = Fact.objects.filter(kind__in=(Kind.SESSION, Kind.INTENT, Kind.CHARGE, Kind.OFFLINE))
    refunds_only = Q(facts__kind=Kind.REFUND) & ~Q(pk__in=evidence.exclude(payment=None).values("payment"))
    waiting = Payment.objects.in_progress() | Payment.objects.filter(refunds_only)
    still = waiting.exclude(changes__created_at__gte=timezone.now() - quiet_for)
    return still.distinct().select_related("appointment").order_by("pk")


def refresh(payment: Payment) -> None:
    """Update the payment from Stripe; if it has been processing for more than STUCK_AFTER, flag it for review.

    Raises StripeUnavailableError.
    """
    ask_stripe(payment, Source.SWEEP)
    payment.refresh_from_db()
    last = payment.changes.last()
    if payment.status == PaymentStatus.PROCESSING and last and last.created_at < timezone.now() - STUCK_AFTER:
        attempts = attempts_of([row.value for row in payment.facts.all()])
        names = [attempt.name for attempt in attempts if attempt.on_its_way]
        overdue = [
            replace(payment.own_fact(Kind.OBSERVATION, f"stuck_{payment.public_id.hex}_{name}", "stuck"), attempt=name)
            for name in names
        ]
        ledger.record(overdue, Cause(Source.SWEEP))


def superfluous() -> list[Payment]:
    """Return payments that have an open Checkout Session although nothing is to be paid online, or another amount."""
    sessions = Fact.objects.filter(kind=Kind.SESSION, status="open").exclude(payment=None)
    return [payment for payment in Payment.objects.filter(pk__in=sessions.values("payment")) if wrong_sessions(payment)]


def unanswered_refunds() -> list[Fact]:
    """Return the rows of refund requests to Stripe that are older than UNANSWERED_AFTER and have no recorded answer."""
    overdue = timezone.now() - UNANSWERED_AFTER
    requests = Fact.objects.filter(kind=Kind.REFUND, status="pending", stripe_id__startswith="request_")
    answered = set(Fact.objects.filter(kind=Kind.REFUND).values_list("details__request", flat=True))
    return [row for row in requests.filter(recorded_at__lt=overdue) if row.stripe_id not in answered]


def resend(request: Fact) -> None:
    """Find out what became of a refund request, and send it again if Stripe hasn't made its refund.

    Raises StripeUnavailableError and StripeRefusedError.
    """
    if request.payment is None:
        return
    try:
        refunds.send_again(request.payment, request.value, request.actor)
    except NotRefundableError:
        return  # Stripe refused it: `send` has recorded that, and the payment's timeline shows it


def waiting_links() -> list[str]:
    """Return the PaymentIntent ids in facts that wait for their payment, sorted.

    Stripe isn't asked any more about facts that have waited longer than GIVE_UP_AFTER.
    """
    waiting = Fact.objects.waiting().filter(recorded_at__gte=timezone.now() - GIVE_UP_AFTER)
    return sorted(set(waiting.exclude(payment_intent_id="").values_list("payment_intent_id", flat=True)))


def find_payment(payment_intent_id: str) -> None:
    """Ask Stripe which payment a PaymentIntent belongs to, and link the waiting facts about it.

    If neither Stripe's objects nor the waiting facts name a payment of ours, the facts are deleted and their events
    ignored as foreign. Raises StripeUnavailableError.
    """
    reading = everything_about(payment_intent_id)
    waiting = Fact.objects.waiting().filter(payment_intent_id=payment_intent_id)
    if not any(fact.payment_id for fact in reading.facts) and not reading.strange and not waiting.claimed().exists():
        receipts = EventReceipt.objects.filter(outcome=Outcome.DEFERRED, object_id__in=waiting.values("stripe_id"))
        receipts.settle(Outcome.IGNORED_FOREIGN, None)
        waiting.delete()
    elif reading.facts:
        ledger.record(reading.facts, Cause(Source.SWEEP))
    reading.settle()


def overdue_events() -> QuerySet[EventReceipt]:
    """Return events whose payment hasn't become known within GIVE_UP_AFTER."""
    return EventReceipt.objects.filter(outcome=Outcome.DEFERRED, received_at__lt=timezone.now() - GIVE_UP_AFTER)


def give_up(receipt: EventReceipt) -> None:
    """Stop waiting for the payment of an event.

    A person has to look at it if something names a payment of ours. Otherwise the event belongs to another site, and
    `manage.py prune` deletes its fact.
    """
    ours = Fact.objects.waiting().claimed().filter(stripe_id=receipt.object_id).exists()
    EventReceipt.objects.filter(pk=receipt.pk).settle(Outcome.DEAD if ours else Outcome.IGNORED_FOREIGN, None)
