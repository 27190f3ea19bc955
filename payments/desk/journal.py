"""Movements of money as lines, for receipts, the desk's page about a payment, and the journal of all payments."""

import datetime
from dataclasses import dataclass

from django.contrib.auth.models import AbstractUser

from ..domain.facts import DESK_KINDS, Kind
from ..domain.methods import method_label
from ..domain.movements import Movement, movements
from ..models import Fact, JournalLine, Payment
from ..models.journal_line import made_by


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
    def stripe_id(self) -> str:
        """Return the id of the Stripe object that proves the line, or "" for an entry at the desk."""
        return "" if self.fact.kind in DESK_KINDS else self.fact.stripe_id

    @property
    def deposited(self) -> datetime.date | None:
        """Return the day on which a cheque goes to the bank."""
        day = self.fact.details.get("deposited")
        return datetime.date.fromisoformat(day) if day else None


def all_lines_of(payment: Payment) -> list[Line]:
    """Return the payment's lines in every currency, oldest first."""
    rows = {row.stripe_id: row for row in payment.facts.all()}
    lines = []
    for line in movements(row.value for row in rows.values()):
        maker = made_by(rows[line.fact_id], rows)
        lines.append(Line(line, rows[line.fact_id], maker.actor if maker else None))
    return lines


def line_from(row: JournalLine) -> Line:
    """Return the line of a row that `JournalLine.objects.in_order()` has loaded."""
    return Line(row.value, row.fact, row.actor)


def lines_of(payment: Payment) -> list[Line]:
    """Return the payment's lines in its own currency, oldest first. Their sum is what the clinic has."""
    return [line for line in all_lines_of(payment) if line.movement.currency == payment.currency]
