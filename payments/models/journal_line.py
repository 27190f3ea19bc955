"""The journal: a row for each movement of money, stored so that the journal can be searched and summed up by date.

Movements follow from facts, which are states of Stripe objects and desk entries (domain/movements.py). Deriving those
of a whole year takes too long for a page, and no column of a fact could hold its movement's date: one dispute makes two
movements, and which fact proves a payment changes as Stripe's objects arrive. So `linking.LockedRows` stores the
movements with the facts, in one transaction, whenever it finds that a payment's stored movements are others.
"""

import datetime
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, Self

from django.conf import settings
from django.db import models
from django.db.models import Count, F, Q, Sum
from django.utils.translation import gettext_lazy as _

from ..domain.facts import DESK_KINDS
from ..domain.methods import Method
from ..domain.movements import Movement, MovementKind, movements
from ..domain.tally import Tally
from .days import ONE_DAY, begin_of, day_number, midnights
from .fact import Fact
from .moved_money import MovedMoney
from .payment import Payment


class JournalLineQuerySet(models.QuerySet["JournalLine"]):
    def online(self) -> Self:
        """Return the lines about money that moved through Stripe."""
        return self.exclude(method__in=Method.values)

    def open_entries(self) -> Self:
        """Return the lines of the entries at the desk that are in no closing yet."""
        found = self.filter(fact__closing=None, fact__kind__in=DESK_KINDS)
        return found.filter(payment=F("fact__payment"))  # so that PostgreSQL finds lines by the index on payments

    def between(self, first: datetime.date | None, last: datetime.date | None) -> Self:
        """Return the lines dated from `first` to `last` inclusive, in the clinic's time zone. None sets no limit."""
        found = self
        if first:
            found = found.filter(at__gte=begin_of(first).timestamp())
        if last:
            found = found.filter(at__lt=begin_of(last + ONE_DAY).timestamp())
        return found

    def in_order(self) -> Self:
        """Return the lines by the date of the money, oldest first, with all that the journal shows of each."""
        rows = self.select_related("fact", "actor", "payment__appointment__patient")
        return rows.order_by("at", "payment_id", "number")

    def tallies(self) -> list[Tally]:
        """Return a Tally for each pair of currency and method in these lines, sorted by currency, then by method."""
        return [_tally(*sums) for sums in _summed(self, "currency", "method")]

    def tallies_by_day(self, first: datetime.date, last: datetime.date) -> dict[datetime.date, list[Tally]]:
        """Return the sums of each day from `first` to `last` on which money moved, in the order of the days."""
        days = [first + number * ONE_DAY for number in range((last - first).days + 1)]
        edges = [midnight.timestamp() for midnight in midnights(days)]
        rows = self.between(first, last).annotate(of_day=day_number("at", edges))
        found: dict[datetime.date, list[Tally]] = {}
        for number, *sums in _summed(rows, "of_day", "currency", "method"):
            found.setdefault(days[number], []).append(_tally(*sums))
        return found


def _summed(lines: JournalLineQuerySet, *by: str) -> Iterable[Any]:
    """Return the lines' number and their positive and negative sums, grouped and sorted by the fields `by`."""
    return (
        lines.order_by(*by)
        .values_list(*by)
        .annotate(
            count=Count("pk"),
            received=Sum("amount", filter=Q(amount__gt=0), default=0),
            given_back=Sum("amount", filter=Q(amount__lt=0), default=0),
        )
    )


def _tally(currency: str, method: str, count: int, *amounts: int | Decimal) -> Tally:
    return Tally(currency, method, count, *map(int, amounts))


class JournalLine(MovedMoney):
    """One movement of a payment's money, as a row; `number` is its place among the payment's movements.

    `fact` is the Stripe object or desk entry that proves the line. `actor` is the member of staff who made the entry or
    requested the refund, or None if nobody did.
    """

    payment = models.ForeignKey(Payment, models.PROTECT, related_name="journal_lines", db_index=False)
    number = models.PositiveSmallIntegerField()
    # A line refers to its fact by the Stripe id, because both are inserted in one message, before the fact has a key.
    # A constraint would need an index to delete facts fast. None is needed: facts with a payment are never deleted.
    fact = models.ForeignKey(
        Fact, models.DO_NOTHING, to_field="stripe_id", related_name="+", db_index=False, db_constraint=False
    )
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, blank=True, related_name="+", db_index=False
    )

    # Whether the next closing has to look at this movement at Stripe. An entry at the desk has its closing in its fact.
    is_open = models.BooleanField(default=True)

    objects = JournalLineQuerySet.as_manager()

    class Meta:
        ordering = ("payment", "number")
        verbose_name = _("journal line")
        verbose_name_plural = _("journal lines")
        constraints = (models.UniqueConstraint(fields=("payment", "number"), name="one_journal_line_per_number"),)
        indexes = (
            models.Index(fields=("at", "payment", "number"), name="journal_by_date"),
            models.Index(fields=("payment",), condition=Q(is_open=True), name="journal_open"),
        )

    @property
    def value(self) -> Movement:
        kind = MovementKind(self.kind)
        return Movement(kind, self.amount, self.currency, self.at, self.method, self.fact_id)


def moved_by(rows: Mapping[str, Fact]) -> list[tuple[Movement, int | None]]:
    """Return a payment's movements of money, each with the key of the member of staff who made it, or None.

    `rows` are all facts of the payment (desk entries and states of Stripe objects) by their Stripe ids.
    """
    found = []
    for line in movements(row.value for row in rows.values()):
        maker = made_by(rows[line.fact_id], rows)
        found.append((line, maker.actor_id if maker else None))
    return found


def line_of(payment: Payment, number: int, moved: Movement, actor_id: int | None) -> JournalLine:
    """Return an unsaved line for the movement with this place among the payment's movements."""
    return JournalLine(
        payment_id=payment.pk,
        number=number,
        kind=moved.kind,
        amount=moved.amount,
        currency=moved.currency,
        at=moved.at,
        method=moved.method,
        fact_id=moved.fact_id,
        actor_id=actor_id,
        is_open=moved.method not in Method.values,
    )


def made_by(row: Fact, rows: Mapping[str, Fact]) -> Fact | None:
    """Return the fact whose actor moved the money that the fact `row` proves, or None if no member of staff did.

    It is the desk entry `row` itself or, if `row` is a refund, the site's request for it. `rows` holds the payment's
    facts by Stripe id.
    """
    if request := rows.get(str(row.details.get("request", ""))):
        return request
    return row if row.kind in DESK_KINDS else None
