"""The lines of a receipt: one for each movement of money, with its date and payment method."""

import datetime
from dataclasses import dataclass

from ..domain.methods import method_label
from ..domain.movements import Movement, movements
from ..models import Payment


@dataclass(frozen=True, slots=True)
class Line:
    """One movement on a receipt. `amount` is in minor units, negative for money that goes back."""

    movement: Movement

    @property
    def when(self) -> datetime.datetime:
        return datetime.datetime.fromtimestamp(self.movement.at, datetime.UTC)

    @property
    def amount(self) -> int:
        return self.movement.amount

    @property
    def label(self) -> str:
        """Return what happened and how, such as "Refund · Card"."""
        return " · ".join(filter(None, (str(self.movement.kind.label), method_label(self.movement.method))))


def lines_of(payment: Payment) -> list[Line]:
    """Return the payment's receipt lines in its currency, oldest first. Their sum is what the clinic has."""
    found = movements(row.value for row in payment.facts.all())
    return [Line(movement) for movement in found if movement.currency == payment.currency]
