"""Derives a payment's status from its facts, which are states of Stripe objects and payments at the desk.

`derive` is a pure function: it reads no models, clock or files. `_status` holds all rules: the first one whose
condition holds gives the status. `reviews` says separately why a person must look at the payment; these reasons don't
change the status.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from django.db.models import TextChoices
from django.utils.translation import gettext_lazy as _

from .attempts import Attempt, AttemptState, attempts_of
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
    PAID_AFTER_CANCEL = "paid_after_cancel", _("Paid, but cancelled")
    SLOT_LOST = "slot_lost", _("Paid, but the slot was given away")
    PRICE_CHANGED = "price_changed", _("Paid at an earlier price")
    REFUND_FAILED = "refund_failed", _("Refund failed")
    REFUND_APPROVAL = "refund_approval", _("Refund to approve")
    STUCK = "stuck", _("Direct debit overdue")
    DISPUTE_DEADLINE = "dispute_deadline", _("Dispute to answer")


@dataclass(frozen=True, slots=True)
class Terms:
    """What should be paid: `amount` in minor units of `currency`; `earlier_amounts` are former prices.

    `slot_lost` is whether the appointment was canceled and its time given to another patient.
    """

    amount: int
    currency: str
    canceled: bool = False
    slot_lost: bool = False
    earlier_amounts: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Amounts:
    """A payment's sums, in minor units of its currency. `lost` is what the clinic lost in disputes."""

    received: int = 0
    refunded: int = 0
    refund_pending: int = 0
    lost: int = 0
    overpaid: int = 0

    @property
    def kept(self) -> int:
        """Return how much of the money received the clinic still has, after refunds and lost disputes."""
        return self.received - self.refunded - self.lost


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing(Amounts):
    """The result of `derive`: a payment's sums, its status and the reasons why a person must look at it (`reviews`)."""

    status: PaymentStatus
    attempt: str = ""  # state of an open Checkout: "requires_action", "failed" (the patient may try again) or ""
    failure_code: str = ""  # Stripe's decline or error code of the last failed attempt
    method: str = ""  # a desk `Method` or Stripe's payment method type
    dispute_due_by: int | None = None  # Unix seconds
    reviews: tuple[Review, ...] = ()


DISPUTE_OPEN = ("needs_response", "under_review")
FAILING = (PaymentStatus.FAILED, PaymentStatus.CHECKOUT_OPEN, PaymentStatus.EXPIRED)  # these may have a failure code
DUE_AFTER = (AttemptState.FAILED, AttemptState.EXPIRED)


def derive(facts: Iterable[StripeFact], terms: Terms) -> Standing:
    """Return a payment's status, sums and review reasons, given its `facts` and its `terms`, such as the price.

    Facts are states of Stripe objects and payments at the desk. The order of `facts` doesn't matter.
    """
    facts = sorted(facts, key=lambda fact: (fact.created, fact.kind, fact.stripe_id))
    attempts = attempts_of(facts)
    counted = [attempt for attempt in attempts if attempt.received and attempt.currency == terms.currency]
    disputes = [fact for fact in facts if fact.kind == Kind.DISPUTE]
    amounts = _amounts(counted, disputes, terms)
    status = _status(attempts, disputes, amounts, terms)
    last = next((attempt for attempt in reversed(attempts) if attempt.state != AttemptState.IDLE), None)
    return Standing(
        status=status,
        received=amounts.received,
        refunded=amounts.refunded,
        refund_pending=amounts.refund_pending,
        lost=amounts.lost,
        overpaid=amounts.overpaid,
        attempt=_attempt_label(attempts) if status == PaymentStatus.CHECKOUT_OPEN else "",
        failure_code=last.failure_code if last and status in FAILING else "",
        method=counted[-1].method if counted else "",
        dispute_due_by=next((d.details.get("due_by") for d in disputes if d.status == "needs_response"), None),
        reviews=_reviews(facts, attempts, counted, amounts, status, terms),
    )


def _amounts(counted: list[Attempt], disputes: list[StripeFact], terms: Terms) -> Amounts:
    sums = Amounts(
        received=sum(attempt.received for attempt in counted),
        refunded=sum(attempt.refunded for attempt in counted),
        refund_pending=sum(attempt.refund_pending for attempt in counted),
        lost=sum(dispute.amount for dispute in disputes if dispute.status == "lost"),
    )
    return replace(sums, overpaid=max(0, sums.kept - terms.amount) if sums.received else 0)


def _status(attempts: list[Attempt], disputes: list[StripeFact], amounts: Amounts, terms: Terms) -> PaymentStatus:
    received, refunded = amounts.received, amounts.refunded
    states = [attempt.state for attempt in attempts]
    ended = [state for state in states if state in DUE_AFTER]
    free = AttemptState.FREE in states
    rows = (
        (any(dispute.status in DISPUTE_OPEN for dispute in disputes), PaymentStatus.DISPUTED),
        (amounts.lost > 0 and amounts.kept <= 0, PaymentStatus.CHARGED_BACK),
        (amounts.refund_pending > 0, PaymentStatus.REFUND_PENDING),
        (received > 0 and refunded >= received, PaymentStatus.REFUNDED),
        (refunded > 0 and received - refunded < terms.amount, PaymentStatus.PARTIALLY_REFUNDED),
        (free or 0 < terms.amount <= received, PaymentStatus.PAID),
        (received > 0, PaymentStatus.UNDERPAID if received < terms.amount else PaymentStatus.PAID),
        (AttemptState.PROCESSING in states, PaymentStatus.PROCESSING),
        (terms.canceled or terms.amount == 0, PaymentStatus.VOID),
        (AttemptState.OPEN in states or AttemptState.REQUIRES_ACTION in states, PaymentStatus.CHECKOUT_OPEN),
        (ended[-1:] == [AttemptState.FAILED], PaymentStatus.FAILED),
        (ended[-1:] == [AttemptState.EXPIRED], PaymentStatus.EXPIRED),
    )
    return next((status for holds, status in rows if holds), PaymentStatus.UNPAID)


def _attempt_label(attempts: list[Attempt]) -> str:
    still_open = [attempt for attempt in attempts if attempt.state in (AttemptState.OPEN, AttemptState.REQUIRES_ACTION)]
    if any(attempt.state == AttemptState.REQUIRES_ACTION for attempt in still_open):
        return "requires_action"
    return "failed" if still_open and still_open[-1].failure_code else ""


def _reviews(
    facts: list[StripeFact],
    attempts: list[Attempt],
    counted: list[Attempt],
    amounts: Amounts,
    status: PaymentStatus,
    terms: Terms,
) -> tuple[Review, ...]:
    kept = [attempt for attempt in counted if attempt.received > attempt.refunded]
    short = status == PaymentStatus.UNDERPAID
    differs = short or (amounts.overpaid > 0 and len(kept) < 2)
    earlier = any(attempt.received in terms.earlier_amounts for attempt in kept)
    observed = {fact.status for fact in facts if fact.kind == Kind.OBSERVATION}
    found = {
        Review.AMOUNT_MISMATCH: differs and not earlier,
        Review.CURRENCY_MISMATCH: any(a.received > a.refunded and a.currency != terms.currency for a in attempts),
        Review.DOUBLE_PAYMENT: amounts.overpaid > 0 and len(kept) > 1,
        Review.PAID_AFTER_CANCEL: terms.canceled and amounts.kept > 0 and not terms.slot_lost,
        Review.SLOT_LOST: terms.canceled and amounts.kept > 0 and terms.slot_lost,
        Review.PRICE_CHANGED: differs and earlier,
        Review.REFUND_FAILED: any(attempt.refund_failed for attempt in attempts),
        Review.REFUND_APPROVAL: "awaiting_approval" in observed,
        Review.STUCK: status == PaymentStatus.PROCESSING and "stuck" in observed,
        Review.DISPUTE_DEADLINE: any(f.kind == Kind.DISPUTE and f.status == "needs_response" for f in facts),
    }
    return tuple(review for review, holds in found.items() if holds)
