"""A payment's movements: dated lines of the money that came in, went back, or was taken back by a bank.

Receipt, timeline, exports, e-mails and the sums in domain/status.py are all made of movements, so that they agree.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from django.db.models import TextChoices
from django.utils.translation import gettext_lazy as _

from .attempts import Attempt, attempts_of
from .facts import Kind, StripeFact


class MovementKind(TextChoices):
    PAYMENT = "payment", _("Payment")
    REFUND = "refund", _("Refund")
    DESK_REFUND = "desk_refund", _("Given back at the desk")
    REVERSAL = "reversal", _("Entered by mistake")
    TAKEN_BACK = "taken_back", _("Taken back by the bank")
    REINSTATED = "reinstated", _("Returned by the bank")


@dataclass(frozen=True, slots=True)
class Movement:
    """One dated line of money.

    `amount` is in minor units of `currency`, negative when money leaves the clinic. `at` is Unix seconds. `fact_id` is
    the id of the Stripe object or desk entry that proves the line.
    """

    kind: MovementKind
    amount: int
    currency: str
    at: int
    method: str  # a desk `Method` or Stripe's payment method type
    fact_id: str


def movements(facts: Iterable[StripeFact]) -> list[Movement]:
    """Return the movements of money that these facts of one payment prove, in every currency, oldest first.

    Within a second, payments come first, then refunds, then what banks took back, so that running sums don't dip.
    """
    lines = [line for attempt in attempts_of(facts) for line in movements_of(attempt)]
    order = list(MovementKind)
    return sorted(lines, key=lambda line: (line.at, order.index(line.kind), line.fact_id))


def movements_of(attempt: Attempt) -> Iterator[Movement]:
    """Yield one attempt's movements. Refunds together, and lost disputes together, never exceed what was received."""
    for proof in attempt.evidence:
        yield _line(attempt, MovementKind.PAYMENT, proof.amount, proof)
    yield from _cut(_refunds(attempt), attempt.received)
    for fact in attempt.of(Kind.DESK_REFUND):
        yield _line(attempt, MovementKind.DESK_REFUND, -fact.amount, fact, method=fact.status)
    yield from _cut((_taken_back(attempt, fact) for fact in attempt.lost_disputes), attempt.received)
    yield from _reinstated(attempt)
    if attempt.reversal:
        for fact in attempt.of(Kind.OFFLINE) + attempt.of(Kind.DESK_REFUND):
            undone = -fact.amount if fact.kind == Kind.OFFLINE else fact.amount
            yield _line(attempt, MovementKind.REVERSAL, undone, attempt.reversal, method=fact.status)


def _refunds(attempt: Attempt) -> Iterator[Movement]:
    """Yield a line for each succeeded refund, and one line for refunds that are known only from a charge's total."""
    for fact in attempt.succeeded_refunds:
        yield _line(attempt, MovementKind.REFUND, -fact.amount, fact)
    if attempt.unlisted_refund:
        charge = max(attempt.of(Kind.CHARGE), key=lambda fact: (fact.as_of, fact.stripe_id))
        yield _line(attempt, MovementKind.REFUND, -attempt.unlisted_refund, charge, at=charge.as_of)


def _taken_back(attempt: Attempt, fact: StripeFact) -> Movement:
    at = int(fact.details.get("withdrawn_at", fact.date))
    return _line(attempt, MovementKind.TAKEN_BACK, -fact.amount, fact, at=at)


def _reinstated(attempt: Attempt) -> Iterator[Movement]:
    """Yield a withdrawal and a repayment for each won dispute whose amount Stripe withdrew and then paid back."""
    for fact in attempt.of(Kind.DISPUTE, "won"):
        if fact.currency == attempt.currency and "reinstated_at" in fact.details:
            yield _taken_back(attempt, fact)
            yield _line(attempt, MovementKind.REINSTATED, fact.amount, fact, at=int(fact.details["reinstated_at"]))


def _line(
    attempt: Attempt, kind: MovementKind, amount: int, fact: StripeFact, *, at: int = 0, method: str = ""
) -> Movement:
    """Return the movement of `amount` that `fact` proves.

    `at`, in Unix seconds, is by default the fact's date, and `method` the attempt's.
    """
    currency = fact.currency or attempt.currency
    return Movement(kind, amount, currency, at or fact.date, method or attempt.method, fact.stripe_id)


def _cut(lines: Iterable[Movement], most: int) -> Iterator[Movement]:
    """Yield negative lines until they sum up to -`most`; shorten the line that would exceed it and drop the others."""
    for line in lines:
        amount = min(-line.amount, most)
        if amount <= 0:
            return
        most -= amount
        yield Movement(line.kind, -amount, line.currency, line.at, line.method, line.fact_id)
