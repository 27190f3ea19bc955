"""Converts the answers of Stripe's API to facts (states of objects), and quarantines what it doesn't understand."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..domain.facts import StripeFact
from ..models import QuarantinedObject
from .client import NotUnderstoodError
from .metadata import own_claims
from .objects import MalformedObjectError, from_object, printable

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Reading:
    """Stripe's answers: `facts` of the objects that were understood, and `strange` objects, which were not.

    `strange` maps an object's Stripe id to the reason, such as "refund status 'x' is unknown".
    """

    facts: list[StripeFact] = field(default_factory=list)
    strange: dict[str, str] = field(default_factory=dict)

    def add(self, obj: Mapping[str, Any], as_of: int) -> None:
        """Add the facts of an object that Stripe returned at `as_of` (Unix seconds), or note why that fails."""
        try:
            self.facts += own_claims(obj, from_object(obj, as_of))
        except MalformedObjectError as error:
            self.strange[printable(obj.get("id"), 255)] = str(error)[:200]

    def extend(self, other: "Reading") -> None:
        self.facts += other.facts
        self.strange |= other.strange

    def settle(self) -> None:
        """Quarantine each object that wasn't understood, and release from quarantine each object that was.

        Raises NotUnderstoodError if any object wasn't understood; so record the facts before calling this.
        """
        QuarantinedObject.objects.filter(stripe_id__in={fact.stripe_id for fact in self.facts}).delete()
        for stripe_id, reason in self.strange.items():
            logger.warning("stripe_object_quarantined", extra={"stripe_id": stripe_id, "reason": reason})
            QuarantinedObject.objects.update_or_create(stripe_id=stripe_id, defaults={"reason": reason})
        if self.strange:
            raise NotUnderstoodError("; ".join(f"{stripe_id}: {reason}" for stripe_id, reason in self.strange.items()))


def understood(obj: Mapping[str, Any], as_of: int) -> list[StripeFact]:
    """Return the facts in one object that Stripe answered at `as_of`, or quarantine it and raise NotUnderstoodError."""
    reading = Reading()
    reading.add(obj, as_of)
    reading.settle()
    return reading.facts
