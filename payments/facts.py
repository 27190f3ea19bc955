"""What one Stripe object last said of itself, and how two such facts merge into one.

Facts about one object merge by taking the greater
`precedence`, which makes merging commutative, associative and idempotent: arrival order never matters.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

Json = Mapping[str, Any]


class Kind(StrEnum):
    SESSION = "session"
    INTENT = "intent"
    CHARGE = "charge"
    REFUND = "refund"
    DISPUTE = "dispute"
    OFFLINE = "offline"  # cash or card terminal, taken at the desk
    OBSERVATION = "observation"  # what the sweeper saw, such as "still processing after ten days"


# A later tuple outranks an earlier one. Within one tuple time decides, and within one second (Stripe's clock has no
# finer one) the later state.
RANKS: dict[Kind, tuple[tuple[str, ...], ...]] = {
    Kind.SESSION: (("open",), ("expired",), ("processing",), ("failed",), ("paid", "no_payment_required")),
    # An intent moves back and forth until it succeeds or is canceled, so only time decides before that.
    Kind.INTENT: (("idle", "requires_action", "processing", "failed"), ("canceled",), ("succeeded",)),
    Kind.CHARGE: (("pending",), ("failed",), ("succeeded",)),
    # A succeeded refund can still fail, days later.
    Kind.REFUND: (("pending",), ("requires_action",), ("succeeded",), ("failed", "canceled")),
    # A lost dispute can become won: among the closed states the newest counts.
    Kind.DISPUTE: (
        ("warning_needs_response", "warning_under_review", "needs_response", "under_review"),
        ("warning_closed", "prevented", "won", "lost"),
    ),
    Kind.OFFLINE: (("cash", "terminal"),),
    Kind.OBSERVATION: (("stuck", "awaiting_approval"), ("approved", "declined")),
}
RANK_OF = {
    kind: {state: (rank, position) for rank, states in enumerate(ranks) for position, state in enumerate(states)}
    for kind, ranks in RANKS.items()
}


@dataclass(frozen=True, slots=True)
class StripeFact:
    """What one Stripe object said of itself at `as_of` (Unix seconds). Amounts are minor units of `currency`."""

    kind: Kind
    stripe_id: str
    status: str
    as_of: int
    created: int = 0
    amount: int = 0
    amount_refunded: int = 0
    currency: str = ""
    livemode: bool = False
    payment_intent_id: str = ""
    charge_id: str = ""
    payment_id: str = ""  # our payment's public id, from the object's metadata
    attempt: str = ""  # which of our Checkout attempts, from the metadata
    details: Json = field(default_factory=dict)

    @property
    def precedence(self) -> tuple[Any, ...]:
        rank, position = RANK_OF[self.kind][self.status]
        return rank, self.as_of, position, self.amount, self.amount_refunded, repr(sorted(self.details.items()))

    @property
    def link(self) -> str:
        """The Stripe id that ties objects of one attempt together."""
        return self.payment_intent_id or self.charge_id


def merge(one: StripeFact, other: StripeFact) -> StripeFact:
    """The one fact that both say together; the same whichever comes first."""
    winner, loser = (one, other) if one.precedence >= other.precedence else (other, one)
    links = ("payment_intent_id", "charge_id", "payment_id", "attempt")
    return replace(
        winner,
        created=min(filter(None, (one.created, other.created)), default=0),
        **{name: getattr(winner, name) or getattr(loser, name) for name in links},
    )
