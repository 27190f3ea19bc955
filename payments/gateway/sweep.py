"""What a timer does: ask Stripe about payments that stand still, and finish what an outage left half-done."""

import datetime

from django.db.models import F, Q, QuerySet
from django.utils import timezone

from .. import ledger
from ..domain.facts import Kind
from ..domain.status import PaymentStatus
from ..ledger import Cause, Source
from ..models import EventReceipt, Fact, Payment
from ..models.payment import PAYABLE
from . import refunds
from .lookup import everything_about
from .reconcile import ask_stripe
from .refunds import NotRefundableError

STUCK_AFTER = datetime.timedelta(days=10)  # SEPA debits take about a week, 14 working days at most
GIVE_UP_AFTER = datetime.timedelta(days=3)  # Stripe, too, stops resending an event after three days
UNANSWERED_AFTER = datetime.timedelta(minutes=1)  # Stripe's answer to a refund takes seconds


def standing_still(quiet_for: datetime.timedelta) -> QuerySet[Payment]:
    """Payments of which Stripe may know more than we do, and that didn't move for this long."""
    evidence = Fact.objects.filter(kind__in=(Kind.SESSION, Kind.INTENT, Kind.CHARGE, Kind.OFFLINE))
    refunds_only = Q(facts__kind=Kind.REFUND) & ~Q(pk__in=evidence.exclude(payment=None).values("payment"))
    waiting = Payment.objects.unsettled() | Payment.objects.filter(refunds_only)
    still = waiting.exclude(changes__created_at__gte=timezone.now() - quiet_for)
    return still.distinct().select_related("appointment").order_by("pk")


def ask(payment: Payment) -> None:
    """Ask Stripe about one payment; a bank debit that is overdue goes to review. Raises StripeUnavailableError."""
    ask_stripe(payment, Source.SWEEP)
    payment.refresh_from_db()
    last = payment.changes.last()
    if payment.status == PaymentStatus.PROCESSING and last and last.created_at < timezone.now() - STUCK_AFTER:
        seen = payment.own_fact(Kind.OBSERVATION, f"stuck_{payment.public_id.hex}", "stuck")
        ledger.record([seen], Cause(Source.SWEEP))


def superfluous() -> QuerySet[Payment]:
    """Payments with an open Checkout page that must not be paid any more, or that asks for another amount."""
    wrong = ~Q(payment__status__in=PAYABLE) | ~Q(amount=F("payment__amount_due"))
    pages = Fact.objects.filter(wrong, kind=Kind.SESSION, status="open").exclude(payment=None)
    return Payment.objects.filter(pk__in=pages.values("payment"))


def unanswered_refunds() -> list[Fact]:
    """Refunds that we asked for and of which Stripe's answer never reached us."""
    long_ago = timezone.now() - UNANSWERED_AFTER
    asked = Fact.objects.filter(kind=Kind.REFUND, status="pending", stripe_id__startswith="request_")
    answered = set(Fact.objects.filter(kind=Kind.REFUND).values_list("details__request", flat=True))
    return [row for row in asked.filter(recorded_at__lt=long_ago) if row.stripe_id not in answered]


def resend(request: Fact) -> None:
    """Ask again with the same idempotency key, so that there is one refund. Raises StripeUnavailableError."""
    if request.payment is None:
        return
    ask_stripe(request.payment, Source.SWEEP)
    try:
        refunds.send(request.payment, request.value, request.actor)
    except NotRefundableError:
        return  # refused and withdrawn: the payment's timeline says so


def waiting_links() -> list[str]:
    """PaymentIntents that waiting facts are about."""
    return sorted(set(Fact.objects.waiting().exclude(payment_intent_id="").values_list("payment_intent_id", flat=True)))


def find_payment(payment_intent_id: str) -> None:
    """Ask Stripe whose PaymentIntent this is, and apply or give up what waits for it. Raises StripeUnavailableError."""
    facts = everything_about(payment_intent_id)
    waiting = Fact.objects.waiting().filter(payment_intent_id=payment_intent_id)
    receipts = EventReceipt.objects.filter(
        outcome=EventReceipt.Outcome.DEFERRED, object_id__in=waiting.values("stripe_id")
    )
    if not any(fact.payment_id for fact in facts) and not waiting.exclude(claimed_payment=None).exists():
        receipts.settle(EventReceipt.Outcome.IGNORED_FOREIGN, None)
        waiting.delete()
    elif facts and ledger.record(facts, Cause(Source.SWEEP)).payment is None:
        receipts.filter(received_at__lt=timezone.now() - GIVE_UP_AFTER).settle(EventReceipt.Outcome.DEAD, None)
