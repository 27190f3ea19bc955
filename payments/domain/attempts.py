"""Facts grouped by attempt: one Checkout Session with its PaymentIntent, charges and refunds, or one desk payment."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from .facts import Kind, StripeFact
from .precedence import precedence


class Outcome(StrEnum):
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
    """One try at paying. Amounts are minor units of `currency`."""

    facts: list[StripeFact] = field(default_factory=list)

    def of(self, kind: Kind, *states: str) -> list[StripeFact]:
        return [fact for fact in self.facts if fact.kind == kind and (not states or fact.status in states)]

    @property
    def currency(self) -> str:
        return next((fact.currency for fact in self.payments() if fact.currency), "")

    def payments(self) -> list[StripeFact]:
        """The best evidence of money received: charges, else the intent, the session, or what was given back of it."""
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
        """Refund objects say it best; a charge's cumulative amount counts only while none of its own is known."""
        total = sum(fact.amount for fact in self.refunds if fact.status == "succeeded")
        if not self.refunds:
            total = sum(charge.amount_refunded for charge in self.of(Kind.CHARGE, "succeeded"))
        return min(total, self.received)

    @property
    def refunds(self) -> list[StripeFact]:
        """Refund objects, and our requests for one that Stripe hasn't answered yet."""
        answered = {fact.details.get("request") for fact in self.of(Kind.REFUND)}
        return [fact for fact in self.of(Kind.REFUND) if fact.stripe_id not in answered]

    @property
    def refund_pending(self) -> int:
        return sum(fact.amount for fact in self.refunds if fact.status in ("pending", "requires_action"))

    @property
    def refund_failed(self) -> bool:
        """Whether a refund failed and no later one has taken its place."""
        failed = max((fact.created for fact in self.of(Kind.REFUND, "failed")), default=None)
        retried = self.of(Kind.REFUND, "pending", "requires_action", "succeeded")
        return failed is not None and not any(fact.created > failed for fact in retried)

    @property
    def method(self) -> str:
        best = self.payments()[0]
        return best.status if best.kind == Kind.OFFLINE else str(best.details.get("method", ""))

    @property
    def failure_code(self) -> str:
        """Stripe's code of the last failure, unless something newer is known of the intent."""
        intents = self.of(Kind.INTENT)
        failing = intents if intents else self.of(Kind.CHARGE, "failed")
        return str(failing[-1].details.get("failure_code", "")) if failing else ""

    @property
    def outcome(self) -> Outcome:
        if self.received:
            return Outcome.PAID
        session = max(self.of(Kind.SESSION), key=precedence, default=None)
        intent = max(self.of(Kind.INTENT), key=precedence, default=None)
        if session and session.status in SESSION_OUTCOMES:
            return SESSION_OUTCOMES[session.status]
        if session and session.status == "processing":
            gave_up = intent and intent.status in ("failed", "canceled") and intent.as_of > session.as_of
            return Outcome.FAILED if gave_up else Outcome.PROCESSING
        if intent and intent.status in ("processing", "requires_action"):
            return Outcome(intent.status)
        if session:
            return Outcome.OPEN
        return Outcome.FAILED if intent and intent.status == "failed" else Outcome.IDLE


SESSION_OUTCOMES = {
    "no_payment_required": Outcome.FREE,
    "paid": Outcome.PAID,
    "failed": Outcome.FAILED,
    "expired": Outcome.EXPIRED,
}


def attempts_of(facts: Iterable[StripeFact]) -> list[Attempt]:
    """Attempts in the order in which they were begun. Disputes and observations stay outside."""
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
    return sorted(groups.values(), key=_begun)


def _begun(attempt: Attempt) -> tuple[int, str, str]:
    """Stripe's clock has seconds only; our attempts are numbered."""
    first = min(attempt.facts, key=lambda fact: (fact.created or fact.as_of, fact.stripe_id))
    return first.created or first.as_of, first.attempt.zfill(8), first.stripe_id
