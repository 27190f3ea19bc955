"""Computes the figures of the operations board, such as payments by status, latencies, failed events and open pages.

The board takes five queries, however many payments there are. Only the figures of `this_process` are about the one
web process that renders the board; all others are about the whole site.
"""

import datetime
import hashlib
import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from django.db.models import Count
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from .. import metrics
from ..live import hub
from ..models import EventReceipt, Payment
from ..models.days import day_number, midnights
from ..models.feed import STAFF
from ..models.search import TAB_STATUSES, Tab
from .latency import Leg, legs

Outcome = EventReceipt.Outcome
STARTED = timezone.now()
OUTCOMES: Mapping[str, tuple[Promise, tuple[Outcome, ...]]] = {
    "settled": (_("Settled"), tuple(set(Outcome).difference(EventReceipt.UNAPPLIED))),
    "pending": (_("Waiting"), EventReceipt.PENDING),
    "helpless": (_("Failed"), EventReceipt.HELPLESS),
}
STACKED = (Tab.PAID, Tab.PROCESSING, Tab.TO_PAY, Tab.PARTLY_REFUNDED, Tab.REFUNDED, Tab.FAILED, Tab.DISPUTED)


@dataclass(frozen=True, slots=True)
class Series:
    """A chart's numbers for one group, such as "Paid": `counts` has one number for each day shown."""

    name: str
    label: str
    counts: tuple[int, ...]

    @property
    def total(self) -> int:
        return sum(self.counts)


@dataclass(frozen=True, slots=True)
class Process:
    """The web process that renders the board: its open sockets now, and what it has counted since it started.

    `cut` is how many sockets it closed because their page read too slowly. `deaf` is whether it receives no messages
    from other processes about their changes.
    """

    name: str
    since: datetime.datetime
    staff: int
    patients: int
    reconnects: int
    polls: int
    cut: int
    deaf: bool


@dataclass(frozen=True, slots=True)
class Board:
    """All figures of the operations board, for the days in `days`."""

    days: tuple[datetime.date, ...]
    payments: tuple[Series, ...]
    events: tuple[Series, ...]
    legs: tuple[Leg, ...]
    failed: int
    deferred: int
    deferred_since: datetime.datetime | None
    last_event: datetime.datetime | None
    process: Process

    @property
    def screen(self) -> Leg | None:
        """Return the latency of the whole way from Stripe to the patient's page, or None if no change was measured."""
        return next((leg for leg in self.legs if leg.name == "screen"), None)

    @property
    def fingerprint(self) -> str:
        """Return a hash of all figures, with which a page finds out whether the board it shows is out of date."""
        return hashlib.sha256(repr(self).encode()).hexdigest()[:16]


def board(days: int) -> Board:
    """Compute the operations board for the last `days` days, today included."""
    today = timezone.localdate()
    dates = tuple(today - datetime.timedelta(days=ago) for ago in reversed(range(days)))
    waiting = EventReceipt.objects.not_applied()
    return Board(
        days=dates,
        payments=payments_by_day(dates),
        events=events_by_day(dates),
        legs=tuple(legs()),
        failed=sum(waiting.get(outcome, (0,))[0] for outcome in EventReceipt.HELPLESS),
        deferred=waiting.get(Outcome.DEFERRED, (0,))[0],
        deferred_since=waiting.get(Outcome.DEFERRED, (0, None))[1],
        last_event=EventReceipt.objects.order_by("-pk").values_list("received_at", flat=True).first(),
        process=this_process(),
    )


def payments_by_day(dates: Sequence[datetime.date]) -> tuple[Series, ...]:
    """Count payments by the day of their appointment and by their present status.

    Return one series (a count for each day) for each group of statuses in STACKED. Payments whose status is in none of
    these groups, such as void, are left out.
    """
    edges = midnights(dates)
    found = Payment.objects.starting_between(dates[0], dates[-1]).order_by()
    rows = found.annotate(day=day_number("appointment__start", edges)).values_list("day", "status")
    counts = table(rows.annotate(Count("pk")))
    return tuple(series(tab.value, tab.label, TAB_STATUSES[tab], counts, len(dates)) for tab in STACKED)


def events_by_day(dates: Sequence[datetime.date]) -> tuple[Series, ...]:
    """Count Stripe's events by the day on which they arrived, and by what became of them.

    Return one series (a count for each day) for each group in OUTCOMES, such as "Failed".
    """
    edges = midnights(dates)
    # Naming every outcome lets the database use its index on (outcome, received_at).
    found = EventReceipt.objects.filter(
        outcome__in=Outcome.values, received_at__gte=edges[0], received_at__lt=edges[-1]
    )
    rows = found.order_by().annotate(day=day_number("received_at", edges)).values_list("day", "outcome")
    counts = table(rows.annotate(Count("pk")))
    return tuple(series(name, label, members, counts, len(dates)) for name, (label, members) in OUTCOMES.items())


def table(rows: Iterable[tuple[int, str, int]]) -> dict[tuple[int, str], int]:
    """Turn rows of (day number, status or outcome, count) into a dict from (day number, status or outcome) to count."""
    return {(day, name): count for day, name, count in rows}


def series(
    name: str, label: str | Promise, members: Iterable[str], counts: Mapping[tuple[int, str], int], days: int
) -> Series:
    """Return a chart's Series, which has for each day the sum of that day's counts of all `members`.

    `members` are the payment statuses or event outcomes that belong to the series. `counts` maps (day number from 0,
    status or outcome) to a count. `days` is how many days the chart shows.
    """
    members = list(members)
    return Series(name, str(label), tuple(sum(counts.get((day, one), 0) for one in members) for day in range(days)))


def this_process() -> Process:
    """Return the figures that are about this web process alone: its open sockets and its counters."""
    hubs = hub.running()
    audiences = [socket.session.audience for each in hubs for socket in each.sockets()]
    return Process(
        name=f"{platform.node()}, {os.getpid()}",
        since=STARTED,
        staff=audiences.count(STAFF),
        patients=len(audiences) - audiences.count(STAFF),
        reconnects=metrics.total(metrics.RECONNECTS),
        polls=metrics.total(metrics.POLLS),
        cut=metrics.total(metrics.SOCKETS_CUT),
        deaf=any(each.deaf for each in hubs),
    )
