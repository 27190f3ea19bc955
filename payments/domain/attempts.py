"""Groups a payment's facts, which are states of Stripe objects and desk payments, by attempt to pay.

An attempt is one Checkout Session with its PaymentIntent, charges, refunds and disputes, or one entry at the desk with
the reversal that corrects it.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from django.utils.functional import cached_property  # that of functools takes a lock up to Python 3.11

from .facts import CARDS, Kind, StripeFact
from .precedence import precedence


class AttemptState(StrEnum):
    """How far an attempt to pay (such as a Checkout Session) has come, or how it ended."""

    IDLE = "idle"
    OPEN = "open"
    REQUIRES_ACTION = "requires_action"
    INSTRUCTIONS = "instructions"  # Checkout is complete; the patient pays with a voucher or by bank transfer
    PROCESSING = "processing"
    FAILED = "failed"
    EXPIRED = "expired"
    FREE = "free"  # nothing was due, such as with a 100 % discount
    PAID = "paid"


PENDING = ("pending", "requires_action")  # a refund that Stripe hasn't finished
DISPUTE_OPEN = ("needs_response", "under_review")  # the bank has taken the money until the dispute is decided
INQUIRY = "warning_needs_response"  # the bank only asks; no money has moved


@dataclass
class Attempt:
    """One attempt to pay, made of its facts (states of Stripe objects and desk entries). Amounts are in minor units.

    Properties are computed once and cached, so add all facts before reading any property.
    """

    requests: dict[str, StripeFact]  # the payment's refund requests, by fact id
    facts: list[StripeFact] = field(default_factory=list)

    def of(self, kind: Kind, *states: str) -> list[StripeFact]:
        """Return the facts (states of Stripe objects) about one `kind` of object, such as charges.

        If `states` are given, return only facts whose status is one of `states`.
        """
        return [fact for fact in self.facts if fact.kind == kind and (not states or fact.status in states)]

    @cached_property
    def name(self) -> str:
        """Return the attempt's name, as this site put it into the metadata of Stripe objects, or "" if none has it."""
        return next((fact.attempt for fact in self.facts if fact.attempt), "")

    @cached_property
    def currency(self) -> str:
        return next((fact.currency for fact in [*self.evidence, *self.facts] if fact.currency), "")

    @cached_property
    def request(self) -> StripeFact | None:
        """Return the site's request to charge a kept card, if this attempt to pay is one; else None."""
        return next((fact for fact in self.of(Kind.INTENT) if fact.is_request), None)

    @cached_property
    def intents(self) -> list[StripeFact]:
        """Return the facts (states of Stripe objects) about PaymentIntents.

        The site's request to charge a kept card stands for its PaymentIntent until that one is known.
        """
        answered = {fact.details.get("request") for fact in self.of(Kind.INTENT)}
        return [fact for fact in self.of(Kind.INTENT) if fact.stripe_id not in answered]

    @cached_property
    def evidence(self) -> list[StripeFact]:
        """Return the facts that best prove what was received, or an empty list if nothing was received.

        They are the entry at the desk; else the captured charges or the succeeded PaymentIntent, depending on which
        proves the greater amount; else the paid session; else a refund or dispute, which proves at least its own
        amount.
        """
        charges, intents = self._captured(Kind.CHARGE), self._captured(Kind.INTENT)
        best = charges if _total(charges) >= _total(intents) else intents
        proofs = (
            self.of(Kind.OFFLINE),
            best,
            self.of(Kind.SESSION, "paid"),
            self.of(Kind.REFUND, *PENDING, "succeeded"),
            self.of(Kind.DISPUTE)[:1],
        )
        return next(filter(None, proofs), [])

    def _captured(self, kind: Kind) -> list[StripeFact]:
        return [fact for fact in self.of(kind, "succeeded") if fact.amount > 0]

    @cached_property
    def reversal(self) -> StripeFact | None:
        """Return the fact that declares this desk entry a mistake, or None."""
        return next(iter(self.of(Kind.REVERSAL)), None)

    @cached_property
    def received(self) -> int:
        return 0 if self.reversal else _total(self.evidence)

    @cached_property
    def refunded(self) -> int:
        """Return how much Stripe has refunded, in minor units, but at most what was received."""
        return min(_total(self.succeeded_refunds) + self.unlisted_refund, self.received)

    @cached_property
    def refunds(self) -> list[StripeFact]:
        """Return the facts (states of Stripe objects) about refunds of this attempt to pay.

        They are about Stripe's refunds, and about this site's refund requests that Stripe hasn't answered yet.
        """
        answered = {fact.details.get("request") for fact in self.of(Kind.REFUND)}
        return [fact for fact in self.of(Kind.REFUND) if fact.stripe_id not in answered]

    @cached_property
    def succeeded_refunds(self) -> list[StripeFact]:
        return [fact for fact in self.refunds if fact.status == "succeeded"]

    @cached_property
    def pending_refunds(self) -> list[StripeFact]:
        return [fact for fact in self.refunds if fact.status in PENDING]

    @cached_property
    def unlisted_refund(self) -> int:
        """Return how much was refunded according to the charges, beyond the refunds that are known, in minor units.

        A charge's `amount_refunded` is a snapshot: it counts the refunds that had been made, and had not failed, at
        that time. Endpoints with an API version before 2024-10-28 get no other news of a card's refunds.
        """
        unlisted = 0
        for charge in self.of(Kind.CHARGE):
            listed = (fact for fact in self.refunds if not fact.is_request and _in_snapshot(fact, charge))
            unlisted += max(0, charge.amount_refunded - _total(listed))
        return unlisted

    @cached_property
    def refund_pending(self) -> int:
        return _total(self.pending_refunds)

    @cached_property
    def desk_refunded(self) -> int:
        """Return how much of this entry was given back at the desk, in minor units; 0 if it was a mistake."""
        return 0 if self.reversal else _total(self.of(Kind.DESK_REFUND))

    @cached_property
    def lost_disputes(self) -> list[StripeFact]:
        """Return the disputes that the bank decided against the clinic and that are in the attempt's currency."""
        return [fact for fact in self.of(Kind.DISPUTE, "lost") if fact.currency == self.currency]

    @cached_property
    def lost(self) -> int:
        """Return how much lost disputes took back, in minor units, but at most what was received."""
        return min(_total(self.lost_disputes), self.received)

    @cached_property
    def disputed(self) -> bool:
        """Return whether a dispute is open. An inquiry is none, because no money has moved."""
        return bool(self.of(Kind.DISPUTE, *DISPUTE_OPEN))

    @cached_property
    def kept(self) -> int:
        """Return how much of what was received has been neither refunded nor taken back, in minor units."""
        return max(0, self.received - self.refunded - self.lost)

    @cached_property
    def asked(self) -> int | None:
        """Return what was asked of the patient in minor units, or None if it isn't known.

        At the desk, what was asked is what was taken; at Checkout, it is the session's amount; of a kept card, it is
        what was requested.
        """
        asked = self.of(Kind.OFFLINE) or self.of(Kind.SESSION) or [fact for fact in [self.request] if fact]
        return _total(asked) if asked else None

    @cached_property
    def on_its_way(self) -> int:
        """Return the amount of a payment that the bank is still working on, such as a direct debit, in minor units."""
        if self.state != AttemptState.PROCESSING:
            return 0
        return max(fact.amount for fact in self.of(Kind.SESSION) + self._intents("processing"))

    @cached_property
    def refundable(self) -> int:
        """Return how much of this attempt Stripe can still refund, in minor units; 0 for an entry at the desk."""
        if self.disputed or not any(fact.payment_intent_id for fact in self.facts):
            return 0
        return max(0, self.received - self.refunded - self.refund_pending - self.lost)

    def waives(self, refund: StripeFact) -> int:
        """Return how much of a refund the patient no longer owes, in minor units: what its request says, else all."""
        return min(int(self._request(refund).details.get("waives", refund.amount)), refund.amount)

    def requested_at(self, refund: StripeFact) -> int:
        """Return when the site asked for a refund, or else when Stripe made it, in Unix seconds."""
        return self._request(refund).date

    def _request(self, refund: StripeFact) -> StripeFact:
        """Return the site's request for a refund, or the refund itself if there is none."""
        return self.requests.get(str(refund.details.get("request")), refund)

    @cached_property
    def method(self) -> str:
        """Return the desk `Method` or Stripe's payment method type; raises IndexError if nothing was received."""
        best = self.evidence[0]
        return best.status if best.kind == Kind.OFFLINE else str(best.details.get("method", ""))

    @cached_property
    def failure_code(self) -> str:
        """Return Stripe's code of the last failure; "" if nothing failed, or if the patient has since tried again."""
        failing = self.intents or self.of(Kind.CHARGE)
        code = str(failing[-1].details.get("failure_code", "")) if failing else ""
        return code or (str(self.request.details.get("failure_code", "")) if self.request else "")

    def _intents(self, status: str) -> list[StripeFact]:
        return [fact for fact in self.intents if fact.status == status]

    @cached_property
    def state(self) -> AttemptState:
        if self.received:
            return AttemptState.PAID
        session = max(self.of(Kind.SESSION), key=precedence, default=None)
        intent = max(self.intents, key=precedence, default=None)
        if session and session.status in SESSION_STATES:
            return SESSION_STATES[session.status]
        if session and session.status == "processing":
            return _after_completion(session, intent, authorized=bool(self.of(Kind.CHARGE, "succeeded")))
        if intent and intent.status in ("processing", "requires_action"):
            return AttemptState(intent.status)
        if session:
            return AttemptState.OPEN
        # A kept card is charged without its owner, so that what wasn't paid at once has failed.
        failed = self.request or (intent and intent.status == "failed")
        return AttemptState.FAILED if failed else AttemptState.IDLE


SESSION_STATES = {
    "no_payment_required": AttemptState.FREE,
    "paid": AttemptState.PAID,
    "failed": AttemptState.FAILED,
    "expired": AttemptState.EXPIRED,
}


def _after_completion(session: StripeFact, intent: StripeFact | None, *, authorized: bool) -> AttemptState:
    """Return how a completed session that isn't paid stands; its PaymentIntent tells whether money is on its way.

    `authorized` is whether a charge waits to be captured. No event that this site applies says so of the PaymentIntent.
    """
    if intent and intent.status == "requires_action" and not authorized:
        return AttemptState.INSTRUCTIONS
    gave_up = intent and intent.status in ("failed", "canceled") and intent.as_of > session.as_of
    return AttemptState.FAILED if gave_up else AttemptState.PROCESSING


def _total(facts: Iterable[StripeFact]) -> int:
    return sum(fact.amount for fact in facts)


def _in_snapshot(refund: StripeFact, charge: StripeFact) -> bool:
    """Return whether `amount_refunded` of the fact `charge` (the charge's state at one moment) includes this refund."""
    ended_before = refund.status in ("failed", "canceled") and refund.reached < charge.as_of
    return refund.date <= charge.as_of and not ended_before


def attempts_of(facts: Iterable[StripeFact]) -> list[Attempt]:
    """Group facts into attempts, oldest attempt first, leaving out observations and facts about cards.

    Facts of one second are read in the order of their kind and id, so that ties end alike however they arrived.
    """
    facts = sorted(facts, key=lambda fact: (fact.created, fact.kind, fact.stripe_id))
    attempt_of_intent = {f.payment_intent_id: f.attempt for f in facts if f.payment_intent_id and f.attempt}
    intent_of_charge = {f.charge_id: f.payment_intent_id for f in facts if f.charge_id and f.payment_intent_id}
    requests = {fact.stripe_id: fact for fact in facts if fact.is_request}
    groups: defaultdict[str, Attempt] = defaultdict(lambda: Attempt(requests=requests))
    for fact in facts:
        if fact.kind == Kind.OBSERVATION or fact.kind in CARDS:
            continue
        intent = fact.payment_intent_id or intent_of_charge.get(fact.charge_id, "")
        attempt = fact.attempt or attempt_of_intent.get(intent, "")
        entry = fact.details.get("entry")  # which only a reversal has
        groups[attempt or intent or fact.charge_id or entry or fact.stripe_id].facts.append(fact)
    return sorted(groups.values(), key=_started)


def desk_refundable(attempts: Iterable[Attempt]) -> int:
    """Return how much of the money taken at the desk is still there to be given back, in minor units."""
    attempts = list(attempts)
    taken = sum(attempt.received for attempt in attempts if attempt.of(Kind.OFFLINE))
    return max(0, taken - sum(attempt.desk_refunded for attempt in attempts))


def _started(attempt: Attempt) -> tuple[int, str, str]:
    """Return a sort key: the Unix time at which the attempt started, then its name, which sorts by milliseconds.

    The name decides between attempts that started within one second, because Stripe's clock has no fractions.
    """
    first = min(attempt.facts, key=lambda fact: (fact.date, fact.stripe_id))
    return first.date, first.attempt, first.stripe_id
