"""Decides which of two states of the same Stripe object is kept, so that an event that arrives late changes nothing.

`merge` keeps the fact (state) with the greater `precedence`. Merging is commutative, associative and idempotent, so the
order in which events arrive never matters.
"""

from dataclasses import replace
from typing import Any

from .facts import Kind, StripeFact
from .methods import Method

# A state in a later tuple wins. Between states of one tuple the newer fact wins. If both facts are of one second
# (Stripe's clock has no fractions), the state that stands later in the tuple wins.
RANKS: dict[Kind, tuple[tuple[str, ...], ...]] = {
    Kind.SESSION: (("open",), ("expired",), ("processing",), ("failed",), ("paid", "no_payment_required")),
    # Until an intent succeeds or is canceled, it moves back and forth, so that only its time decides.
    Kind.INTENT: (("idle", "requires_action", "processing", "failed"), ("canceled",), ("succeeded",)),
    Kind.CHARGE: (("pending",), ("failed",), ("succeeded",)),
    # A succeeded refund can still fail, days later.
    Kind.REFUND: (("pending",), ("requires_action",), ("succeeded",), ("failed", "canceled")),
    # A lost dispute can become won: among the closed states the newest counts.
    Kind.DISPUTE: (
        ("warning_needs_response", "warning_under_review", "needs_response", "under_review"),
        ("warning_closed", "prevented", "won", "lost"),
    ),
    Kind.OFFLINE: (tuple(Method),),
    Kind.DESK_REFUND: (tuple(Method),),
    Kind.REVERSAL: (("reversed",),),
    Kind.SETUP_PAGE: (("open",), ("expired",), ("complete",)),
    Kind.SETUP: (("idle", "failed"), ("canceled",), ("succeeded",)),
    Kind.CARD: (("kept",), ("removed",)),
    Kind.CONSENT: (("agreed",),),
    Kind.OBSERVATION: (("stuck", "awaiting_approval", "asked_again", "written_off"), ("approved", "declined")),
}
RANK_OF = {
    kind: {state: (rank, position) for rank, states in enumerate(ranks) for position, state in enumerate(states)}
    for kind, ranks in RANKS.items()
}


def precedence(fact: StripeFact) -> tuple[Any, ...]:
    """Return the sort key of a fact, which is the state of one Stripe object at one moment.

    Of several facts about the same object, the one with the greatest key is kept.
    """
    rank, position = RANK_OF[fact.kind][fact.status]
    return rank, fact.as_of, position, fact.amount, fact.amount_refunded, repr(sorted(fact.details.items()))


def merge(one: StripeFact, other: StripeFact) -> StripeFact:
    """Merge two facts (states of one Stripe object at two moments) into one; their order makes no difference.

    The fact with the greater precedence wins. It gets the earlier `created` of both, the ids that only the other fact
    has and, if both states are equally final, the time at which the earlier of them was reached. A card's details never
    change, but Stripe's events tell only a part of them, so a card keeps the details of both facts.
    """
    winner, loser = (one, other) if precedence(one) >= precedence(other) else (other, one)
    links = ("payment_intent_id", "charge_id", "payment_id", "attempt")
    same_rank = precedence(one)[0] == precedence(other)[0]
    since = min(one.reached, other.reached) if same_rank else winner.reached
    return replace(
        winner,
        created=min(filter(None, (one.created, other.created)), default=0),
        since=0 if since == winner.as_of else since,
        details={**loser.details, **winner.details} if winner.kind == Kind.CARD else winner.details,
        **{name: getattr(winner, name) or getattr(loser, name) for name in links},
    )
