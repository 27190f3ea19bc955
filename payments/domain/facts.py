"""A fact: the state of one Stripe object, or of one entry made at the desk, at one moment."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

Json = Mapping[str, Any]
# Begins the id of a refund or a charge of a kept card that the site asked for; the id is Stripe's idempotency key.
REQUEST_PREFIX = "request_"


class Kind(StrEnum):
    SESSION = "session"
    INTENT = "intent"
    CHARGE = "charge"
    REFUND = "refund"
    DISPUTE = "dispute"
    OFFLINE = "offline"  # money taken at the desk; the fact's status is a `Method`
    DESK_REFUND = "desk_refund"  # money given back at the desk; the fact's status is a `Method`
    REVERSAL = "reversal"  # says that a desk entry was a mistake; `details["entry"]` is the entry's fact id
    OBSERVATION = "observation"  # what this site found or staff decided, such as an overdue debit or a write-off
    SETUP_PAGE = "setup_page"  # a Checkout Session that keeps a card and takes no payment
    SETUP = "setup"  # a SetupIntent
    CARD = "card"  # a PaymentMethod that Stripe keeps for later
    CONSENT = "consent"  # what the patient agreed may be charged to a kept card; `details["text"]` are the words


CARDS = (Kind.SETUP_PAGE, Kind.SETUP, Kind.CARD, Kind.CONSENT)  # facts about kept cards, which move no money


DESK_KINDS = (Kind.OFFLINE, Kind.DESK_REFUND, Kind.REVERSAL)  # entries at the desk; each is one movement of money


@dataclass(frozen=True, slots=True)
class StripeFact:
    """The state at `as_of` of a Stripe object, desk entry or observation (a note such as a staff decision).

    Amounts are in minor units of `currency`; `as_of`, `created` and `since` are Unix seconds. `since` is when the
    object was first seen in a state as final as its present one (see domain/precedence.py); 0 means `as_of`.
    """

    kind: Kind
    stripe_id: str
    status: str
    as_of: int
    created: int = 0
    since: int = 0
    amount: int = 0
    amount_refunded: int = 0
    currency: str = ""
    livemode: bool = False
    payment_intent_id: str = ""
    charge_id: str = ""
    payment_id: str = ""  # our payment's public id, from the object's metadata
    attempt: str = ""  # the number of our Checkout attempt, from the metadata
    details: Json = field(default_factory=dict)

    @property
    def ids(self) -> list[str]:
        """Return the ids of the object itself, its PaymentIntent and its charge, as far as they are known.

        Facts that share an id are about the same payment.
        """
        return [each for each in (self.stripe_id, self.payment_intent_id, self.charge_id) if each]

    @property
    def reached(self) -> int:
        """Return when the object was first seen in a state as final as its present one, in Unix seconds."""
        return self.since or self.as_of

    @property
    def date(self) -> int:
        """Return when the object was created or, if that is unknown, the time of its present state, in Unix seconds."""
        return self.created or self.as_of

    @property
    def is_request(self) -> bool:
        """Return whether this fact is the site's own request for a refund or charge, rather than Stripe's object."""
        return self.stripe_id.startswith(REQUEST_PREFIX)
