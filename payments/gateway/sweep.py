"""Jobs of `manage.py sweep`: ask Stripe about payments that have stopped changing, and finish interrupted work."""

import contextlib
import datetime
from dataclasses import replace

from django.db.models import Exists, OuterRef, Q, QuerySet, Subquery, Sum
from django.db.models.fields.json import KT
from django.db.models.functions import Coalesce
from django.utils import timezone

from appointments.models import Appointment

from .. import ledger
from ..domain.attempts import DISPUTE_OPEN, INQUIRY, attempts_of
from ..domain.cards import CardState
from ..domain.facts import REQUEST_PREFIX, Kind
from ..domain.status import PaymentStatus
from ..ledger import Cause, Source
from ..models import EventReceipt, Fact, Payment
from . import fees, kept_cards, refunds
from .checkout import wrong_sessions
from .client import StripeRefusedError
from .reconcile import ask_stripe
from .refunds import NotRefundableError
from .retrieve import everything_about, listed

Outcome = EventReceipt.Outcome
STUCK_AFTER = datetime.timedelta(days=10)  # SEPA debits usually take a week, at most 14 working days
GIVE_UP_AFTER = datetime.timedelta(days=3)  # Stripe also stops resending an event after three days
UNANSWERED_AFTER = datetime.timedelta(minutes=1)  # Stripe's answer to a refund takes seconds
REFUND_WINDOW = datetime.timedelta(days=30)  # how long the sweep asks about a refund that it doesn't find
DISPUTE_WINDOW = datetime.timedelta(days=120)  # banks take up to three months to decide
CARD_GRACE = datetime.timedelta(days=7)  # in which staff may still correct that a patient came
UNHEARD_WINDOW = datetime.timedelta(days=7)  # `manage.py catch_up` and `reconcile` find what is older
DISPUTE_PAUSE = datetime.timedelta(days=1)
DISPUTE_MAY_CHANGE = (*DISPUTE_OPEN, INQUIRY, "warning_under_review", "lost")
WITH_MONEY = (
    PaymentStatus.PAID,
    PaymentStatus.UNDERPAID,
    PaymentStatus.PARTIALLY_REFUNDED,
    PaymentStatus.REFUNDED,
    PaymentStatus.DISPUTED,
    PaymentStatus.CHARGED_BACK,
)


def standing_still(quiet_for: datetime.timedelta) -> QuerySet[Payment]:
    """Return payments that haven't changed for `quiet_for` here but may have changed at Stripe.

    These are payments in progress, and payments of which only refunds are recorded.
    """
    evidence = Fact.objects.filter(kind__in=(Kind.SESSION, Kind.INTENT, Kind.CHARGE, Kind.OFFLINE))
    refunds_only = Q(facts__kind=Kind.REFUND) & ~Q(pk__in=evidence.exclude(payment=None).values("payment"))
    waiting = Payment.objects.in_progress() | Payment.objects.filter(refunds_only)
    still = waiting.exclude(changes__created_at__gte=timezone.now() - quiet_for)
    return still.distinct().select_related("appointment").order_by("pk")


def incomplete(quiet_for: datetime.timedelta) -> list[Payment]:
    """Return payments that have ended here, but whose refunds or disputes may have changed at Stripe.

    Either a charge says that more was refunded than the known refunds sum up to, or a dispute may have changed: an open
    dispute, or a lost one, because a lost dispute can still be won. Charges read from Stripe less than `quiet_for` ago,
    and disputes read within DISPUTE_PAUSE, are left alone. Only payments that changed recently are looked at, so that
    the query stays fast; `manage.py reconcile` compares the older ones.
    """
    now = timezone.now()
    done = Payment.objects.filter(status__in=WITH_MONEY).select_related("appointment").prefetch_related("facts")
    refunded = done.filter(updated_at__range=(now - REFUND_WINDOW, now - quiet_for), amount_refunded__gt=0)
    disputed = Q(amount_lost__gt=0) | Q(dispute_due_by__isnull=False)
    searches = (  # one by one, because the database uses no index for all three joined by OR
        refunded.filter(Exists(_charges_with_unknown_refunds())),
        done.filter(disputed, updated_at__gt=now - DISPUTE_WINDOW),
        done.filter(status=PaymentStatus.DISPUTED),
    )
    found = {payment.pk: payment for search in searches for payment in search}
    return [payment for _, payment in sorted(found.items()) if _has_gap(payment, now, quiet_for)]


def _charges_with_unknown_refunds() -> QuerySet[Fact]:
    """Return charges of the outer query's payments that say more was refunded than the stored refunds sum up to.

    The sum takes refunds created before the charge was read, but no failed ones. Because some of them failed only after
    the charge was read, the query finds too many charges; `_has_gap` checks them exactly.
    """
    listed = Fact.objects.filter(
        kind=Kind.REFUND, payment=OuterRef("payment"), charge_id=OuterRef("charge_id"), created__lte=OuterRef("as_of")
    ).exclude(Q(status__in=("failed", "canceled")) | Q(stripe_id__startswith=REQUEST_PREFIX))
    total = listed.order_by().values("charge_id").annotate(total=Sum("amount")).values("total")
    charges = Fact.objects.filter(kind=Kind.CHARGE, payment=OuterRef("pk"))
    return charges.filter(amount_refunded__gt=Coalesce(Subquery(total), 0))


def _has_gap(payment: Payment, now: datetime.datetime, quiet_for: datetime.timedelta) -> bool:
    facts = [row.value for row in payment.facts.all()]
    quiet_since, told_before = (now - quiet_for).timestamp(), (now - DISPUTE_PAUSE).timestamp()
    unlisted = [attempt for attempt in attempts_of(facts) if attempt.unlisted_refund]
    if any(fact.as_of <= quiet_since for attempt in unlisted for fact in attempt.of(Kind.CHARGE)):
        return True
    disputes = [fact for fact in facts if fact.kind == Kind.DISPUTE and fact.as_of <= told_before]
    return any(fact.status in DISPUTE_MAY_CHANGE for fact in disputes)


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
    """Return payments with an open Checkout Session that is wrong: nothing is to pay online, or something else is."""
    sessions = Fact.objects.filter(kind__in=(Kind.SESSION, Kind.SETUP_PAGE), status="open").exclude(payment=None)
    payments = Payment.objects.filter(pk__in=sessions.values("payment")).select_related("appointment")
    return [payment for payment in payments if wrong_sessions(payment)]


def unanswered_refunds() -> list[Fact]:
    """Return the rows of refund requests to Stripe that are older than UNANSWERED_AFTER and have no recorded answer."""
    return _unanswered(Kind.REFUND, "pending")


def unanswered_fees() -> list[Fact]:
    """Return the rows of requests to charge a kept card that are older than UNANSWERED_AFTER and have no answer."""
    return _unanswered(Kind.INTENT, "processing")


def _unanswered(kind: Kind, status: str) -> list[Fact]:
    overdue = timezone.now() - UNANSWERED_AFTER
    of_payment = Fact.objects.filter(kind=kind, payment=OuterRef("payment"))
    answers = of_payment.annotate(request=KT("details__request")).filter(request=OuterRef("stripe_id"))
    requests = Fact.objects.filter(kind=kind, status=status, stripe_id__startswith=REQUEST_PREFIX)
    return list(requests.filter(~Exists(answers), recorded_at__lt=overdue).select_related("payment", "actor"))


def charge_again(request: Fact) -> None:
    """Ask Stripe what became of a request to charge a kept card, and send it again if Stripe knows nothing of it.

    A declined card is recorded, and is no error of the sweep. Raises StripeUnavailableError.
    """
    if request.payment is not None:
        with contextlib.suppress(fees.DeclinedError):
            fees.send_again(request.payment, request.value, request.actor)


def unknown_cards() -> QuerySet[Payment]:
    """Return payments whose kept card has no known brand, because no event tells it."""
    return Payment.objects.filter(card=CardState.KEPT, card_brand="").select_related("appointment").order_by("pk")


def unneeded_cards() -> QuerySet[Payment]:
    """Return payments whose card is still kept although it has served its purpose.

    This is so CARD_GRACE after an appointment that the patient attended, or for which nothing is owed or may be charged
    any more.
    """
    settled = Q(amount_owed=0) | Q(card_limit=0) | Q(appointment__status=Appointment.Status.COMPLETED)
    ended = Payment.objects.filter(card=CardState.KEPT, appointment__end__lt=timezone.now() - CARD_GRACE)
    return ended.filter(settled).select_related("appointment").order_by("pk")


def remove_unneeded_card(payment: Payment) -> None:
    """Have Stripe forget a card that has served its purpose. Raises StripeUnavailableError and StripeRefusedError."""
    kept_cards.remove_card(payment, None)


def resend(request: Fact) -> None:
    """Ask Stripe what became of a refund request, and send the request again if Stripe hasn't made the refund.

    Raises StripeUnavailableError, or StripeRefusedError if Stripe refuses; the request may then have been withdrawn.
    """
    if request.payment is None:
        return
    try:
        refunds.send_again(request.payment, request.value, request.actor)
    except NotRefundableError as error:
        raise StripeRefusedError(error.code) from error


def unheard_of(quiet_for: datetime.timedelta) -> list[str]:
    """Return the sorted PaymentIntent ids of payments that have a refund or dispute at Stripe which isn't stored here.

    Such a payment looks complete, as when all events about a returned direct debit got lost. Refunds and disputes
    created in the last `quiet_for` are left out, because their events may still come.
    """
    now = timezone.now()
    created = {"gte": int((now - UNHEARD_WINDOW).timestamp()), "lte": int((now - quiet_for).timestamp())}
    recent = [obj for kind in ("refunds", "disputes") for obj, _ in listed(kind, created=created)]
    stored = set(
        Fact.objects.filter(stripe_id__among=[obj["id"] for obj in recent]).values_list("stripe_id", flat=True)
    )
    links = {obj["payment_intent"] for obj in recent if obj["id"] not in stored} - {None}
    ours = Fact.objects.exclude(payment=None).filter(payment_intent_id__among=links)
    return sorted(set(ours.values_list("payment_intent_id", flat=True)))


def waiting_links() -> list[str]:
    """Return the sorted PaymentIntent ids of facts (states of Stripe objects) whose payment isn't known yet.

    Facts that have waited longer than GIVE_UP_AFTER are left out: Stripe isn't asked about them any more.
    """
    waiting = Fact.objects.waiting().filter(recorded_at__gte=timezone.now() - GIVE_UP_AFTER)
    return sorted(set(waiting.exclude(payment_intent_id="").values_list("payment_intent_id", flat=True)))


def find_payment(payment_intent_id: str) -> None:
    """Ask Stripe which payment a PaymentIntent belongs to, and link the waiting facts about the PaymentIntent to it.

    A waiting fact is the state of a Stripe object whose payment isn't known yet. If neither Stripe's objects nor the
    waiting facts name a payment of this site, the facts are deleted, and their events are ignored as another site's.
    Raises StripeUnavailableError.
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
    """Return the EventReceipt rows of events whose payment is still unknown after GIVE_UP_AFTER."""
    return EventReceipt.objects.filter(outcome=Outcome.DEFERRED, received_at__lt=timezone.now() - GIVE_UP_AFTER)


def give_up(receipt: EventReceipt) -> None:
    """Stop waiting until the payment of an event becomes known; `receipt` is the event's EventReceipt row.

    If a fact (stored state of a Stripe object) names a payment of this site, a person has to look at the event.
    Otherwise the event belongs to another site, and `manage.py prune` deletes its fact.
    """
    ours = Fact.objects.waiting().claimed().filter(stripe_id=receipt.object_id).exists()
    EventReceipt.objects.filter(pk=receipt.pk).settle(Outcome.DEAD if ours else Outcome.IGNORED_FOREIGN, None)
