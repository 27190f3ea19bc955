"""A payment's movements of money as lines, for receipts, the desk's page and the journal's CSV file."""

import datetime
from dataclasses import dataclass

from django.contrib.auth.models import AbstractUser

from ..domain.facts import Kind
from ..domain.methods import method_label
from ..domain.movements import Movement, movements
from ..models import Fact, Payment


@dataclass(frozen=True, slots=True)
class Line:
    """One movement of a payment's money. `fact` is the Stripe object or desk entry that proves it.

    `actor` is the member of staff who made the entry or requested the refund, or None if nobody did.
    """

    movement: Movement
    fact: Fact
    actor: AbstractUser | None

    @property
    def when(self) -> datetime.datetime:
        return datetime.datetime.fromtimestamp(self.movement.at, datetime.UTC)

    @property
    def amount(self) -> int:
        """Return the amount in minor units, negative for money that leaves the clinic."""
        return self.movement.amount

    @property
    def label(self) -> str:
        """Return what happened and how, such as "Refund · Card"."""
        return " · ".join(filter(None, (str(self.movement.kind.label), method_label(self.movement.method))))

    @property
    def note(self) -> str:
        """Return what staff noted about the entry: a note for colleagues, or why it was a mistake."""
        return str(self.fact.details.get("reason" if self.fact.kind == Kind.REVERSAL else "note", ""))

    @property
    def deposited(self) -> datetime.date | None:
        """Return the day on which a cheque goes to the bank."""
        day = self.fact.details.get("deposited")
        return datetime.date.fromisoformat(day) if day else None


def all_lines_of(payment: Payment) -> list[Line]:
    """Return the payment's lines in every currency, oldest first."""
    rows = {row.stripe_id: row for row in payment.facts.all()}
    found = movements(row.value for row in rows.values())
    return [Line(line, rows[line.fact_id], _actor(rows[line.fact_id], rows)) for line in found]


def lines_of(payment: Payment) -> list[Line]:
    """Return the payment's lines in its own currency, oldest first. Their sum is what the clinic has."""
    return [line for line in all_lines_of(payment) if line.movement.currency == payment.currency]


def _actor(row: Fact, rows: dict[str, Fact]) -> AbstractUser | None:
    """Return who made the desk entry `row`, or who requested the refund or the charge of a kept card `row`."""
    if request := rows.get(str(row.details.get("request", ""))):
        return request.actor
    return row.actor if row.kind in (Kind.OFFLINE, Kind.DESK_REFUND, Kind.REVERSAL) else None
