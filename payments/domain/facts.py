"""What one Stripe object, or one payment at the desk, said of itself at one moment."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

Json = Mapping[str, Any]


class Kind(StrEnum):
    SESSION = "session"
    INTENT = "intent"
    CHARGE = "charge"
    REFUND = "refund"
    DISPUTE = "dispute"
    OFFLINE = "offline"  # taken at the desk; its status is a `Method`
    OBSERVATION = "observation"  # what the sweeper saw, such as "still processing after ten days"


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
    def link(self) -> str:
        """The Stripe id that ties objects of one attempt together."""
        return self.payment_intent_id or self.charge_id
