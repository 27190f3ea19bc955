"""The cases of the review queue. A case says why a payment needs a person's attention, and offers one safe action."""

import datetime
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from django.conf import settings
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from appointments.money import format_amount

from ..domain.facts import Kind
from ..domain.status import Review
from ..models import Payment

WORDS: dict[Review, Promise] = {
    Review.DOUBLE_PAYMENT: _("The patient paid twice: %(received)s instead of %(due)s. Refund %(overpaid)s."),
    Review.PAID_AFTER_CANCEL: _(
        "The appointment is cancelled, but %(received)s was received. Refund it, or book another appointment."
    ),
    Review.SLOT_LOST: _(
        "%(received)s was received after the slot was given to another patient. Refund it, or find another slot."
    ),
    Review.AMOUNT_MISMATCH: _(
        "%(received)s was received, but the price is %(due)s. Settle the difference with the patient."
    ),
    Review.PRICE_CHANGED: _(
        "The price was changed to %(due)s while the patient was paying %(received)s. Settle the"
        " difference with the patient."
    ),
    Review.CURRENCY_MISMATCH: _("A payment arrived in another currency and is not counted. Refund it in Stripe."),
    Review.REFUND_FAILED: _("A refund failed, so the patient has not received the money. Try again."),
    Review.REFUND_APPROVAL: _("A refund is waiting for a second person’s approval."),
    Review.STUCK: _("The direct debit is taking longer than it should. Check with Stripe."),
    Review.DISPUTE_DEADLINE: _(
        "The patient’s bank disputes %(received)s. Answer in Stripe, or the clinic loses the money."
    ),
}

BUTTONS = {
    Review.STUCK: "ask",
    Review.REFUND_APPROVAL: "approve",
    Review.DISPUTE_DEADLINE: "stripe",
    Review.CURRENCY_MISMATCH: "stripe",
}


@dataclass(frozen=True, slots=True)
class Case:
    """A case of the review queue: one reason why a payment needs a person's attention."""

    payment: Payment
    review: Review
    stripe_url: str = ""
    first: bool = False  # whether this is the payment's first case in the list, which also shows the payment's status

    @property
    def words(self) -> str:
        """Return the text that says what happened and what to do about it, with the payment's amounts filled in."""
        names = ("received", "due", "overpaid")
        amounts = {
            name: format_amount(getattr(self.payment, f"amount_{name}"), self.payment.currency) for name in names
        }
        return str(WORDS[self.review]) % amounts

    @property
    def deadline(self) -> datetime.datetime | None:
        """Return the time by which a dispute must be answered, or None for any other case."""
        due_by = self.payment.dispute_due_by if self.review == Review.DISPUTE_DEADLINE else None
        return datetime.datetime.fromtimestamp(due_by, timezone.get_current_timezone()) if due_by else None

    @property
    def action(self) -> str:
        """Return which button the case offers: "ask", "approve", "stripe", "take", "refund" or "look"."""
        if self.review in BUTTONS:
            return BUTTONS[self.review]
        if self.payment.amount_owed:
            return "take"
        return "refund" if self.payment.refundable else "look"


def cases_of(payments: Iterable[Payment]) -> list[Case]:
    """Return a case for each reason why one of these payments needs a person, in the order in which to handle them.

    Cases with a deadline come first, the nearest deadline leading; then come the payments that changed longest ago.
    """
    far = timezone.now() + datetime.timedelta(days=3650)
    cases = sorted(_cases(payments), key=lambda case: (case.deadline or far, case.payment.updated_at))
    first = {case.payment.pk: case for case in reversed(cases)}
    return [replace(case, first=first[case.payment.pk] is case) for case in cases]


def _cases(payments: Iterable[Payment]) -> Iterator[Case]:
    for payment in payments:
        for reason in payment.reviews:
            yield Case(payment, Review(reason), stripe_url_of(payment, Review(reason)))


def stripe_url_of(payment: Payment, review: Review | None = None) -> str:
    """Return the URL in Stripe's Dashboard of the payment, or of its dispute if `review` is DISPUTE_DEADLINE.

    Return "" when Stripe took no part in the payment.
    """
    if not settings.REAL_STRIPE:
        return str(settings.STRIPE_API_HOST)  # the sandbox shows everything on one page
    root = "https://dashboard.stripe.com" + ("" if settings.STRIPE_LIVE_MODE else "/test")
    facts = {row.kind: row for row in payment.facts.all()}
    if review == Review.DISPUTE_DEADLINE and Kind.DISPUTE in facts:
        return f"{root}/disputes/{facts[Kind.DISPUTE].stripe_id}"
    intents = [row.payment_intent_id for row in facts.values() if row.payment_intent_id]
    return f"{root}/payments/{intents[-1]}" if intents else ""
