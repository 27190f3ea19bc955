"""The cases of the review queue. A case says why a payment needs a person's attention, and offers one safe action."""

import datetime
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace

from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from appointments.money import format_amount

from ..conf import app_settings
from ..domain.attempts import INQUIRY
from ..domain.facts import Kind
from ..domain.status import Review
from ..models import Payment
from .refund_approvals import WAITING

WORDS: dict[Review, Promise] = {
    Review.DOUBLE_PAYMENT: _("The patient paid twice: %(net)s instead of %(due)s. Refund %(overpaid)s."),
    Review.PAID_AFTER_CANCEL: _(
        "The appointment is cancelled, but the clinic has %(net)s. Refund %(overpaid)s, or keep it as a fee."
    ),
    Review.SLOT_LOST: _(
        "The clinic has %(net)s, but the slot was given to another patient. Refund %(overpaid)s, or keep it as a fee."
    ),
    Review.AMOUNT_MISMATCH: _(
        "%(received)s was received, but the price is %(due)s. Settle the difference with the patient."
    ),
    Review.PRICE_CHANGED: _(
        "%(received)s was received, but the price was changed to %(due)s. Settle the difference with the patient."
    ),
    Review.CURRENCY_MISMATCH: _("A payment arrived in another currency and is not counted. Refund it in Stripe."),
    Review.REFUND_FAILED: _("A refund failed, so the patient has not received the money. Try again."),
    Review.REFUND_CANCELED: _("A refund was cancelled, so the patient has not received the money. Refund it again."),
    Review.REFUND_APPROVAL: _("A refund of %(requested)s is waiting for a second person’s approval."),
    Review.STUCK: _("The direct debit is taking longer than it should. Check with Stripe."),
    Review.DISPUTE_DEADLINE: _(
        "The patient’s bank disputes this payment of %(received)s. Answer in Stripe, or the clinic loses the money."
    ),
    Review.INQUIRY: _(
        "The patient’s bank asks about this payment of %(received)s. Answer in Stripe, so that it doesn’t become a"
        " dispute."
    ),
    Review.TAKEN_BACK: _(
        "The bank took %(lost)s back, and %(missing)s is missing. Ask the patient again, or stop asking."
    ),
    Review.REINSTATED: _("The bank returned the money after the patient had paid again. Refund %(overpaid)s."),
}

BUTTONS = {
    Review.STUCK: "ask",
    Review.REFUND_APPROVAL: "approve",
    Review.DISPUTE_DEADLINE: "stripe",
    Review.INQUIRY: "stripe",
    Review.CURRENCY_MISMATCH: "stripe",
    Review.TAKEN_BACK: "ask_again",
}
TO_REFUND = (Review.REFUND_FAILED, Review.REFUND_CANCELED)  # also while the patient owes something
ANSWERED_BY = {Review.DISPUTE_DEADLINE: "needs_response", Review.INQUIRY: INQUIRY}  # the states of such disputes


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
        sums = asdict(self.payment.amounts)
        sums |= {name: getattr(self.payment.amounts, name) for name in ("net", "missing", "overpaid")}
        waiting = [row for row in self.payment.facts.all() if row.status == WAITING]
        sums["requested"] = sum(row.amount for row in waiting if row.currency == self.payment.currency)
        amounts = {name: format_amount(amount, self.payment.currency) for name, amount in sums.items()}
        return str(WORDS[self.review]) % amounts

    @property
    def deadline(self) -> datetime.datetime | None:
        """Return the time by which a dispute or a bank's inquiry must be answered, or None for any other case."""
        due_by = self.payment.dispute_due_by if self.review in ANSWERED_BY else None
        return datetime.datetime.fromtimestamp(due_by, timezone.get_current_timezone()) if due_by else None

    @property
    def action(self) -> str:
        """Return the name of the button that the case offers: a value of BUTTONS, or "take", "refund" or "look"."""
        if self.review in BUTTONS:
            return BUTTONS[self.review]
        if self.payment.amount_owed and self.review not in TO_REFUND:
            return "take"
        return "refund" if self.payment.refundable else "look"

    @property
    def may_keep(self) -> bool:
        """Return whether the clinic may keep the money as a cancellation fee instead of refunding it."""
        return self.review in (Review.PAID_AFTER_CANCEL, Review.SLOT_LOST)


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
    """Return the URL in Stripe's Dashboard of the payment, or of the dispute that `review` is about.

    Return "" when Stripe took no part in the payment.
    """
    if not app_settings.real_stripe:
        return str(app_settings.STRIPE_API_HOST)  # the sandbox shows everything on one page
    root = "https://dashboard.stripe.com" + ("" if app_settings.STRIPE_LIVE_MODE else "/test")
    facts = list(payment.facts.all())
    waiting = ANSWERED_BY.get(review) if review else None
    disputes = [row.stripe_id for row in facts if row.kind == Kind.DISPUTE and row.status == waiting]
    if disputes:
        return f"{root}/disputes/{disputes[-1]}"
    intents = [row.payment_intent_id for row in facts if row.payment_intent_id]
    return f"{root}/payments/{intents[-1]}" if intents else ""
