"""A payment's status as a pure function of facts: no models, no clock, no I/O.

`derive` is the whole truth table. Its first matching row gives the status; what needs a person's eye stands beside
it as reviews and never replaces it.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from django.db.models import TextChoices
from django.utils.translation import gettext_lazy as _

from .attempts import Attempt, Outcome, attempts_of
from .facts import Kind, StripeFact


class PaymentStatus(TextChoices):
    UNPAID = "unpaid", _("To pay")
    CHECKOUT_OPEN = "checkout_open", _("Payment started")
    PROCESSING = "processing", _("Processing")
    PAID = "paid", _("Paid")
    UNDERPAID = "underpaid", _("Partly paid")
    FAILED = "failed", _("Payment failed")
    EXPIRED = "expired", _("Payment expired")
    VOID = "void", _("Nothing to pay")
    REFUND_PENDING = "refund_pending", _("Refund on its way")
    PARTIALLY_REFUNDED = "partially_refunded", _("Partly refunded")
    REFUNDED = "refunded", _("Refunded")
    DISPUTED = "disputed", _("Disputed")
    CHARGED_BACK = "charged_back", _("Charged back")


class Review(TextChoices):
    AMOUNT_MISMATCH = "amount_mismatch", _("Amount differs from the price")
    CURRENCY_MISMATCH = "currency_mismatch", _("Paid in another currency")
    DOUBLE_PAYMENT = "double_payment", _("Paid twice")
    PAID_AFTER_CANCEL = "paid_after_cancel", _("Paid, but canceled")
    SLOT_LOST = "slot_lost", _("Paid, but the slot was given away")
    PRICE_CHANGED = "price_changed", _("Paid at an earlier price")
    REFUND_FAILED = "refund_failed", _("Refund failed")
    REFUND_APPROVAL = "refund_approval", _("Refund to approve")
    STUCK = "stuck", _("Bank debit overdue")
    DISPUTE_DEADLINE = "dispute_deadline", _("Dispute to answer")


@dataclass(frozen=True, slots=True)
class Terms:
    """What is owed. Amounts are minor units of `currency`; `earlier_amounts` were due before a price change."""

    amount: int
    currency: str
    canceled: bool = False
    slot_lost: bool = False
    earlier_amounts: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a payment stands. Amounts are minor units of the terms' currency."""

    status: PaymentStatus
    received: int = 0
    refunded: int = 0
    refund_pending: int = 0
    lost: int = 0
    overpaid: int = 0
    attempt: str = ""  # how the open attempt goes: "", "requires_action" or "failed"
    failure_code: str = ""  # Stripe's decline or error code of the last failed attempt
    method: str = ""  # a desk `Method` or Stripe's payment method type
    dispute_due_by: int | None = None  # Unix seconds
    reviews: tuple[Review, ...] = ()


DISPUTE_OPEN = ("needs_response", "under_review")
OWED_AFTER = (Outcome.FAILED, Outcome.EXPIRED)


def derive(facts: Iterable[StripeFact], terms: Terms) -> Standing:
    """The standing that these facts give, in whatever order they come."""
    facts = sorted(facts, key=lambda fact: (fact.created, fact.kind, fact.stripe_id))
    attempts = attempts_of(facts)
    counted = [attempt for attempt in attempts if attempt.received and attempt.currency == terms.currency]
    disputes = [fact for fact in facts if fact.kind == Kind.DISPUTE]
    received = sum(attempt.received for attempt in counted)
    refunded = sum(attempt.refunded for attempt in counted)
    lost = sum(dispute.amount for dispute in disputes if dispute.status == "lost")
    money = {
        "received": received,
        "refunded": refunded,
        "refund_pending": sum(attempt.refund_pending for attempt in counted),
        "lost": lost,
        "overpaid": max(0, received - refunded - lost - terms.amount) if received else 0,
    }
    status = _status(attempts, counted, disputes, money, terms)
    last = next((attempt for attempt in reversed(attempts) if attempt.outcome != Outcome.IDLE), None)
    return Standing(
        status=status,
        **money,
        attempt=_attempt_label(attempts) if status == PaymentStatus.CHECKOUT_OPEN else "",
        failure_code=last.failure_code if last and status in FAILING else "",
        method=counted[-1].method if counted else "",
        dispute_due_by=next((d.details.get("due_by") for d in disputes if d.status == "needs_response"), None),
        reviews=_reviews(facts, attempts, counted, money, status, terms),
    )


FAILING = (PaymentStatus.FAILED, PaymentStatus.CHECKOUT_OPEN, PaymentStatus.EXPIRED)


def _status(
    attempts: list[Attempt],
    counted: list[Attempt],
    disputes: list[StripeFact],
    money: dict[str, int],
    terms: Terms,
) -> PaymentStatus:
    received, refunded, lost = money["received"], money["refunded"], money["lost"]
    outcomes = [attempt.outcome for attempt in attempts]
    ended = [outcome for outcome in outcomes if outcome in OWED_AFTER]
    free = Outcome.FREE in outcomes
    rows = (
        (any(dispute.status in DISPUTE_OPEN for dispute in disputes), PaymentStatus.DISPUTED),
        (lost > 0 and received - refunded - lost <= 0, PaymentStatus.CHARGED_BACK),
        (money["refund_pending"] > 0, PaymentStatus.REFUND_PENDING),
        (received > 0 and refunded >= received, PaymentStatus.REFUNDED),
        (refunded > 0 and received - refunded < terms.amount, PaymentStatus.PARTIALLY_REFUNDED),
        (free or 0 < terms.amount <= received, PaymentStatus.PAID),
        (received > 0, PaymentStatus.UNDERPAID if received < terms.amount else PaymentStatus.PAID),
        (Outcome.PROCESSING in outcomes, PaymentStatus.PROCESSING),
        (terms.canceled or terms.amount == 0, PaymentStatus.VOID),
        (Outcome.OPEN in outcomes or Outcome.REQUIRES_ACTION in outcomes, PaymentStatus.CHECKOUT_OPEN),
        (ended[-1:] == [Outcome.FAILED], PaymentStatus.FAILED),
        (ended[-1:] == [Outcome.EXPIRED], PaymentStatus.EXPIRED),
    )
    return next((status for holds, status in rows if holds), PaymentStatus.UNPAID)


def _attempt_label(attempts: list[Attempt]) -> str:
    still_open = [attempt for attempt in attempts if attempt.outcome in (Outcome.OPEN, Outcome.REQUIRES_ACTION)]
    if any(attempt.outcome == Outcome.REQUIRES_ACTION for attempt in still_open):
        return "requires_action"
    return "failed" if still_open and still_open[-1].failure_code else ""


def _reviews(
    facts: list[StripeFact],
    attempts: list[Attempt],
    counted: list[Attempt],
    money: dict[str, int],
    status: PaymentStatus,
    terms: Terms,
) -> tuple[Review, ...]:
    kept = [attempt for attempt in counted if attempt.received > attempt.refunded]
    net = money["received"] - money["refunded"] - money["lost"]
    short = status == PaymentStatus.UNDERPAID
    differs = short or (money["overpaid"] > 0 and len(kept) < 2)
    earlier = any(attempt.received in terms.earlier_amounts for attempt in kept)
    observed = {fact.status for fact in facts if fact.kind == Kind.OBSERVATION}
    found = {
        Review.AMOUNT_MISMATCH: differs and not earlier,
        Review.CURRENCY_MISMATCH: any(a.received > a.refunded and a.currency != terms.currency for a in attempts),
        Review.DOUBLE_PAYMENT: money["overpaid"] > 0 and len(kept) > 1,
        Review.PAID_AFTER_CANCEL: terms.canceled and net > 0 and not terms.slot_lost,
        Review.SLOT_LOST: terms.canceled and net > 0 and terms.slot_lost,
        Review.PRICE_CHANGED: differs and earlier,
        Review.REFUND_FAILED: any(attempt.refund_failed for attempt in attempts),
        Review.REFUND_APPROVAL: "awaiting_approval" in observed,
        Review.STUCK: status == PaymentStatus.PROCESSING and "stuck" in observed,
        Review.DISPUTE_DEADLINE: any(f.kind == Kind.DISPUTE and f.status == "needs_response" for f in facts),
    }
    return tuple(review for review, holds in found.items() if holds)
