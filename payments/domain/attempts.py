"""Groups a payment's facts, which are states of Stripe objects and desk payments, by attempt to pay.

An attempt to pay is one Checkout Session with its PaymentIntent, charges and refunds, or one payment at the desk.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from .facts import Kind, StripeFact
from .precedence import precedence


class AttemptState(StrEnum):
    """How far an attempt to pay (such as a Checkout Session) has come, or how it ended."""

    IDLE = "idle"
    OPEN = "open"
    REQUIRES_ACTION = "requires_action"
    PROCESSING = "processing"
    FAILED = "failed"
    EXPIRED = "expired"
    FREE = "free"  # nothing was due, such as with a 100 % discount
    PAID = "paid"


@dataclass(slots=True)
class Attempt:
    """One attempt to pay, as a list of its facts: states of Stripe objects, or a payment at the desk.

    Amounts are in minor units of `currency`.
    """

    facts: list[StripeFact] = field(default_factory=list)

    def of(self, kind: Kind, *states: str) -> list[StripeFact]:
        """Return the facts (states of Stripe objects) about one `kind` of object, such as charges.

        If `states` are given, return only facts whose status is one of `states`.
        """
        return [fact for fact in self.facts if fact.kind == kind and (not states or fact.status in states)]

    @property
    def currency(self) -> str:
        return next((fact.currency for fact in self.payments() if fact.currency), "")

    def payments(self) -> list[StripeFact]:
        """Return the facts (states of Stripe objects) that tell best how much this attempt to pay brought in.

        Return desk payments; or else succeeded charges, a succeeded PaymentIntent or a paid Checkout Session. If there
        is none of these, return the refunds, because at least their sum must have been received.
        """
        return (
            self.of(Kind.OFFLINE)
            or self.of(Kind.CHARGE, "succeeded")
            or self.of(Kind.INTENT, "succeeded")
            or self.of(Kind.SESSION, "paid")
            or self.of(Kind.REFUND, "pending", "requires_action", "succeeded")
        )

    @property
    def received(self) -> int:
        return sum(fact.amount for fact in self.payments())

    @property
    def refunded(self) -> int:
        """Return how much was refunded, in minor units: the sum of succeeded refunds, but at most what was received.

        If no refund is stored, the sum is what Stripe's charges state as refunded.
        """
        total = sum(fact.amount for fact in self.refunds if fact.status == "succeeded")
        if not self.refunds:
            total = sum(charge.amount_refunded for charge in self.of(Kind.CHARGE, "succeeded"))
        return min(total, self.received)

    @property
    def refunds(self) -> list[StripeFact]:
        """Return the facts (states of Stripe objects) about refunds of this attempt to pay.

        They are about Stripe's refunds, and about this site's refund requests that Stripe hasn't answered yet.
        """
        answered = {fact.details.get("request") for fact in self.of(Kind.REFUND)}
        return [fact for fact in self.of(Kind.REFUND) if fact.stripe_id not in answered]

    @property
    def refund_pending(self) -> int:
        return sum(fact.amount for fact in self.refunds if fact.status in ("pending", "requires_action"))

    @property
    def refund_failed(self) -> bool:
        """Return whether a refund failed and no refund created later is pending or has succeeded."""
        failed = max((fact.created for fact in self.of(Kind.REFUND, "failed")), default=None)
        retried = self.of(Kind.REFUND, "pending", "requires_action", "succeeded")
        return failed is not None and not any(fact.created > failed for fact in retried)

    @property
    def method(self) -> str:
        """Return how the patient paid: a desk `Method` or Stripe's payment method type.

        Raises IndexError if nothing was received.
        """
        best = self.payments()[0]
        return best.status if best.kind == Kind.OFFLINE else str(best.details.get("method", ""))

    @property
    def failure_code(self) -> str:
        """Return Stripe's code of the last failure; "" if nothing failed, or if the patient has since tried again."""
        intents = self.of(Kind.INTENT)
        failing = intents if intents else self.of(Kind.CHARGE, "failed")
        return str(failing[-1].details.get("failure_code", "")) if failing else ""

    @property
    def state(self) -> AttemptState:
        if self.received:
            return AttemptState.PAID
        session = max(self.of(Kind.SESSION), key=precedence, default=None)
        intent = max(self.of(Kind.INTENT), key=precedence, default=None)
        if session and session.status in SESSION_STATES:
            return SESSION_STATES[session.status]
        if session and session.status == "processing":
            gave_up = intent and intent.status in ("failed", "canceled") and intent.as_of > session.as_of
            return AttemptState.FAILED if gave_up else AttemptState.PROCESSING
        if intent and intent.status in ("processing", "requires_action"):
            return AttemptState(intent.status)
        if session:
            return AttemptState.OPEN
        return AttemptState.FAILED if intent and intent.status == "failed" else AttemptState.IDLE


SESSION_STATES = {
    "no_payment_required": AttemptState.FREE,
    "paid": AttemptState.PAID,
    "failed": AttemptState.FAILED,
    "expired": AttemptState.EXPIRED,
}


def attempts_of(facts: Iterable[StripeFact]) -> list[Attempt]:
    """Group a payment's facts (states of Stripe objects, desk payments) by attempt to pay, oldest attempt first.

    Disputes, and facts that this site observed itself, such as an overdue bank debit, are left out.
    """
    facts = list(facts)
    attempt_of_intent = {f.payment_intent_id: f.attempt for f in facts if f.payment_intent_id and f.attempt}
    intent_of_charge = {f.charge_id: f.payment_intent_id for f in facts if f.charge_id and f.payment_intent_id}
    groups: defaultdict[str, Attempt] = defaultdict(Attempt)
    for fact in facts:
        if fact.kind in (Kind.DISPUTE, Kind.OBSERVATION):
            continue
        intent = fact.payment_intent_id or intent_of_charge.get(fact.charge_id, "")
        attempt = fact.attempt or attempt_of_intent.get(intent, "")
        groups[attempt or intent or fact.charge_id or fact.stripe_id].facts.append(fact)
    return sorted(groups.values(), key=_started)


def _started(attempt: Attempt) -> tuple[int, str, str]:
    """Return a sort key: the Unix time at which the attempt to pay started, then the attempt's number, then an id.

    Stripe's times have no fractions of a second, so the number orders attempts that started in the same second.
    """
    first = min(attempt.facts, key=lambda fact: (fact.created or fact.as_of, fact.stripe_id))
    return first.created or first.as_of, first.attempt.zfill(8), first.stripe_id
