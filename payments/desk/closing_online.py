"""Finds the movements of money at Stripe that are in no closing yet, and puts them into one.

The date of such a movement doesn't decide that: patients pay in the evening after the till was closed, and an event may
arrive days after the money moved. So a line of the journal is open from the moment when it is stored until a closing
has taken it. A line that is stored again, because Stripe told more about its payment, is open again; OnlineEntry says
what closings took of this payment before.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from django.db import connection

from people.names import name_of

from ..models import Closing, JournalLine, OnlineEntry
from ..models.journal_line import JournalLineQuerySet
from .closing_report import Entry

Moved = TypeVar("Moved", JournalLine, OnlineEntry)


@dataclass(frozen=True)
class OpenMovement:
    """A movement at Stripe, as a closing will hold it. `payment_id` is the key of its payment."""

    entry: Entry
    payment_id: int


@dataclass(frozen=True)
class OpenOnline:
    """The movements at Stripe that are in no closing yet, oldest first.

    `lines` are the keys and times of the journal's open lines. `people` are the names of the members of staff who
    requested refunds, by their keys.
    """

    movements: Sequence[OpenMovement] = ()
    lines: Sequence[tuple[int, int]] = ()
    people: dict[str, str] = field(default_factory=dict)

    @property
    def entries(self) -> list[Entry]:
        return [each.entry for each in self.movements]

    def before(self, end: float) -> "OpenOnline":
        """Return what moved before the Unix time `end`."""
        movements = [each for each in self.movements if each.entry.at < end]
        makers = {str(each.entry.by) for each in movements}
        people = {key: name for key, name in self.people.items() if key in makers}
        return OpenOnline(movements, [line for line in self.lines if line[1] < end], people)

    def take(self, closing: Closing) -> None:
        """Store that the closing holds these movements. Call it in the transaction that holds the till's lock.

        A line that is being replaced just now is skipped, so that webhooks and closings don't wait for each other. It
        is looked at once more by the next closing, which finds that nothing is left to take.
        """
        rows = [
            OnlineEntry(
                closing=closing,
                payment_id=each.payment_id,
                kind=each.entry.kind,
                amount=each.entry.amount,
                currency=each.entry.currency,
                at=each.entry.at,
                method=each.entry.method,
                stripe_id=each.entry.id,
            )
            for each in self.movements
        ]
        OnlineEntry.objects.bulk_create(rows)
        lines = JournalLine.objects.filter(pk__among=[key for key, _at in self.lines])
        if connection.vendor == "postgresql":
            lines = JournalLine.objects.filter(
                pk__in=lines.order_by("pk").select_for_update(skip_locked=True).values("pk")
            )
        lines.update(is_open=False)


def open_online() -> OpenOnline:
    """Return the movements at Stripe that are in no closing yet."""
    waiting = JournalLine.objects.filter(is_open=True)
    by_group: dict[tuple[int, str, str], tuple[list[JournalLine], list[OnlineEntry]]] = {}
    lines = list(of_payments_with(waiting))
    for line in lines:
        by_group.setdefault((line.payment_id, line.kind, line.currency), ([], []))[0].append(line)
    taken = OnlineEntry.objects.filter(payment__in=waiting.values("payment")).select_related("payment__appointment")
    for row in taken:
        by_group.setdefault((row.payment_id, row.kind, row.currency), ([], []))[1].append(row)
    found = [movement for group in by_group.values() for movement in _not_taken(*group)]
    return OpenOnline(
        sorted(found, key=lambda each: (each.entry.at, each.entry.id)),
        [(line.pk, line.at) for line in lines if line.is_open],
        {str(line.actor_id): name_of(line.actor) for line in lines if line.actor},
    )


def of_payments_with(lines: JournalLineQuerySet) -> JournalLineQuerySet:
    """Return all lines about money at Stripe of the payments that these lines are about, oldest first."""
    return JournalLine.objects.filter(payment__in=lines.values("payment")).online().in_order()


def _not_taken(lines: Sequence[JournalLine], taken: Sequence[OnlineEntry]) -> Iterable[OpenMovement]:
    """Yield the movements that the journal has and closings don't. All are of one payment, kind and currency.

    Lines and rows are matched by their amounts, because the object that proves a line may become another one. A row
    without a line is undone by a movement of the opposite amount.
    """
    known = {row.stripe_id for row in taken}
    amounts = {line.amount for line in lines} | {row.amount for row in taken}
    for amount in sorted(amounts | {-amount for amount in amounts}):
        new, gone = _of(lines, amount), _of(taken, -amount)
        missing = len(new) - len(_of(lines, -amount)) - len(_of(taken, amount)) + len(gone)
        if missing > 0:
            newest_last = sorted(new, key=lambda line: line.fact_id not in known)
            chosen: list[JournalLine | OnlineEntry] = [*gone, *newest_last]
            yield from (_movement(each, amount) for each in chosen[-missing:])


def _of(rows: Iterable[Moved], amount: int) -> list[Moved]:
    return [row for row in rows if row.amount == amount]


def _movement(row: JournalLine | OnlineEntry, amount: int) -> OpenMovement:
    stripe_id, by = (row.fact_id, row.actor_id) if isinstance(row, JournalLine) else (row.stripe_id, None)
    entry = Entry(
        id=stripe_id,
        kind=row.kind,
        method=row.method,
        amount=amount,
        currency=row.currency,
        at=row.at,
        by=by,
        reference=row.payment.appointment.reference,
    )
    return OpenMovement(entry, row.payment_id)
