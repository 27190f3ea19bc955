"""A fact: the state of one Stripe object, or of one payment at the desk, at one moment."""

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
    OFFLINE = "offline"  # a payment at the desk; the fact's status is a `Method`
    OBSERVATION = (
        "observation"  # what this site found itself: a bank debit that is overdue, a refund that waits for approval
    )


@dataclass(frozen=True, slots=True)
class StripeFact:
    """The state of one Stripe object or desk payment at the time `as_of`. Amounts are in minor units of `currency`.

    A fact can also be what this site observed itself, such as an overdue bank debit. `as_of` and `created` (when the
    object was created) are Unix seconds.
    """

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
    attempt: str = ""  # the number of our Checkout attempt, from the metadata
    details: Json = field(default_factory=dict)

    @property
    def link(self) -> str:
        """Return the id of the PaymentIntent to which the fact belongs, or else of its charge, or "" if it has neither.

        All Stripe objects of one attempt to pay share this id.
        """
        return self.payment_intent_id or self.charge_id
