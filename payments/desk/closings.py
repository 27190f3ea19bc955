"""Closes the till's day: what is to be counted, sealing it, and correcting a sealed closing by another one."""

import datetime
import hashlib
import logging
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

from django.contrib.auth.models import AbstractUser
from django.db import transaction
from django.db.models import Count, Sum

from appointments.models import Currency
from people.names import name_of

from ..domain.tally import Tally, tally, totals
from ..linking import lock_till
from ..models import Closing, Fact, JournalLine, Payment
from ..models.days import ONE_DAY, begin_of, day_of
from .closing_online import OpenOnline, open_online
from .closing_report import CASH, Drawer, Entry, Found, Line, Report, late_of, lines_of
from .journal import line_from

logger = logging.getLogger(__name__)


class TillChangedError(Exception):
    """Raised when the till is no longer as the person saw it who wanted to seal: entries came, or the day is sealed."""


@dataclass(frozen=True, slots=True)
class Owed:
    """How many appointments of a day aren't paid, and how much is owed for them, in minor units of `currency`."""

    currency: str
    count: int
    amount: int


@dataclass(frozen=True)
class Sheet:
    """What is to be closed now. `day` is the day, or None if today is closed already; `last` is the last closed day.

    The closing will hold `entries`, which were made at the desk, and `moved`, the movements at Stripe. It won't hold
    the movements of later days; `later` is their number. The closing gets `number`, unless another one is sealed first.
    """

    day: datetime.date | None
    last: datetime.date | None
    number: int
    entries: list[Entry] = field(default_factory=list)
    moved: OpenOnline = field(default_factory=OpenOnline)
    later: int = 0
    people: dict[str, str] = field(default_factory=dict)
    before: dict[str, int] = field(default_factory=dict)  # what the last closing left in the drawer, by currency

    @property
    def desk_fingerprint(self) -> str:
        """Return a hash of what is to be counted."""
        return _hash(str(self.number), str(self.day), *(entry.id for entry in self.entries))

    @property
    def fingerprint(self) -> str:
        """Return a hash of what the person sees, by which `seal` notices that something came in between.

        It begins with `desk_fingerprint`, and a hyphen.
        """
        return f"{self.desk_fingerprint}-{_hash(*(f'{each.id} {each.amount}' for each in self.moved.entries))}"

    @property
    def movements(self) -> list[Entry]:
        """Return all that the closing will hold, at the desk and at Stripe."""
        return [*self.entries, *self.moved.entries]

    @cached_property
    def since(self) -> datetime.date | None:
        """Return the first day that the closing closes: an earlier one than `day` if several are closed at once."""
        days = (day_of(each.at) for each in self.movements)
        return min((day for day in days if self.last is None or day > self.last), default=self.day)

    @property
    def late(self) -> list[Entry]:
        """Return the movements that were recorded after their day had been closed."""
        return late_of(self.movements, self.since) if self.since else []

    @cached_property
    def tallies(self) -> list[Tally]:
        return tally(self.entries)

    @cached_property
    def online(self) -> list[Tally]:
        """Return the sums of what moved through Stripe, one for each currency."""
        return totals(tally(self.moved.entries))

    @property
    def drawers(self) -> dict[str, int]:
        """Return the currencies whose cash is to be counted, with the day's net in minor units.

        They are those in which there was cash today or since the last closing. Without any, it is the clinic's usual
        currency, so that an empty drawer can be counted too.
        """
        nets = {each.currency: each.net for each in self.tallies if each.method == CASH}
        found = dict.fromkeys((code for code, amount in self.before.items() if amount), 0) | nets
        return dict(sorted(found.items())) or {Currency.EUR.value: 0}

    @property
    def lines(self) -> list[Line]:
        """Return the lines of all methods but cash, to which what was found is to be added."""
        return [line for line in lines_of(self.tallies, {}) if line.tally.method != CASH]

    @cached_property
    def owed(self) -> list[Owed]:
        """Return what is still owed for the day's appointments, by currency."""
        payments = Payment.objects.starting_between(self.day, self.day) if self.day else Payment.objects.none()
        rows = payments.filter(amount_owed__gt=0).order_by("currency").values_list("currency")
        sums = rows.annotate(Count("pk"), Sum("amount_owed"))
        return [Owed(currency, count, int(amount)) for currency, count, amount in sums]

    @cached_property
    def reviews(self) -> int:
        """Return how many payments, of any day, staff have to review."""
        return Payment.objects.to_review().count()

    def content(self, found: Found, drawers: Sequence[Drawer], reason: str) -> dict[str, Any]:
        """Return the content of a closing: what the sheet says, what was found and counted, and why it differs."""
        return _content(self.since, found, reason) | {
            "entries": [asdict(entry) for entry in self.entries],
            "people": self.people | self.moved.people,
            "online": [asdict(entry) for entry in self.moved.entries],
            "drawers": [asdict(drawer) for drawer in drawers],
            "left_open": {"owed": [asdict(each) for each in self.owed], "reviews": self.reviews},
        }


def open_sheet(wanted: datetime.date | None = None) -> Sheet:
    """Return what is to be closed now: the earliest day that has open entries and isn't closed, else today.

    If the day `wanted` can be closed now, return that day instead; its closing then holds the open entries of all days
    before. A movement that was recorded after its day had been closed goes to the next closing. If today is closed, the
    sheet has no day, and such movements are only counted, as `later`.
    """
    closed = Closing.objects.of_days().with_head().order_by("-day").first()
    number, last = (closed.head + 1, closed.day) if closed else (1, None)
    entries, online = _open_entries(), open_online()
    day = _day_to_close(last, wanted, entries)
    if day is None:
        return Sheet(None, last, number, later=len(entries) + len(online.movements))
    end = begin_of(day + ONE_DAY).timestamp()
    held, moved = [each for each in entries if each.entry.at < end], online.before(end)
    return Sheet(
        day,
        last,
        number,
        [each.entry for each in held],
        moved,
        len(entries) - len(held) + len(online.movements) - len(moved.movements),
        {str(each.entry.by): each.name for each in held},
        {drawer.currency: drawer.left for drawer in Report(closed.content).drawers} if closed else {},
    )


def _hash(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _day_to_close(
    last: datetime.date | None, wanted: datetime.date | None, entries: Sequence["OpenEntry"]
) -> datetime.date | None:
    """Return the day to close now, if `last` is the last day that is closed; None if that is today.

    `entries` are the open entries at the desk.
    """
    today = day_of(time.time())
    if last and last >= today:
        return None
    if wanted and wanted <= today and (last is None or wanted > last):
        return wanted
    since = begin_of(last + ONE_DAY).timestamp() if last else 0
    days = (day_of(each.entry.at) for each in entries if each.entry.at >= since)
    return min([today, *days])


@dataclass(frozen=True, slots=True)
class OpenEntry:
    """An entry at the desk that is in no closing yet, and the name of the person who made it."""

    entry: Entry
    name: str


def _open_entries() -> list[OpenEntry]:
    """Return the entries at the desk that are in no closing yet, oldest first."""
    found = []
    for row in JournalLine.objects.open_entries().in_order():
        line = line_from(row)
        entry = Entry(
            id=row.fact_id,
            kind=row.kind,
            method=row.method,
            amount=row.amount,
            currency=row.currency,
            at=row.at,
            by=row.actor_id,
            reference=row.payment.appointment.reference,
            deposited=line.deposited.isoformat() if line.deposited else "",
        )
        found.append(OpenEntry(entry, name_of(row.actor) if row.actor else "–"))
    return sorted(found, key=lambda each: (each.entry.at, each.entry.id))


def seal(
    day: datetime.date, found: Found, drawers: Sequence[Drawer], reason: str, actor: AbstractUser, *, seen: str
) -> Closing:
    """Seal the closing of the day and return it.

    `seen` is the fingerprint of the Sheet that the person saw. Raises TillChangedError if the till has changed since,
    so that nobody signs for money that they haven't seen.
    """
    with transaction.atomic():
        lock_till()
        sheet = open_sheet(day)
        if sheet.day != day or sheet.fingerprint != seen:
            raise TillChangedError
        content = sheet.content(found, drawers, reason)
        closing = Closing.objects.seal(day=day, content=content, sealed_by=actor)
        ids = [entry.id for entry in sheet.entries]
        Fact.objects.open_entries().filter(stripe_id__among=ids).update(closing=closing)
        sheet.moved.take(closing)
    _log(closing)
    return closing


def found_until_now(closing: Closing) -> dict[tuple[str, str], int]:
    """Return what was found for a closing, by currency and method, with all corrections since."""
    found = dict(Report(closing.content).found)
    for correction in closing.corrections.all():
        for key, amount in Report(correction.content).found.items():
            found[key] = found.get(key, 0) + amount
    return found


def correct(closing: Closing, found: Found, reason: str, actor: AbstractUser, *, corrections: int) -> Closing:
    """Seal a closing that corrects what was found for `closing`, and return it. The first closing stays as it is.

    `found` is what was really found. The new closing holds only how it differs from what was known, so that the sums
    of both closings are right. `corrections` is how many there were when the person looked; raises TillChangedError if
    there is another one, as after a double click.
    """
    with transaction.atomic():
        lock_till()
        known = found_until_now(closing)
        if closing.corrections.count() != corrections:
            raise TillChangedError
        changed = {key: amount - known.get(key, 0) for key, amount in found.items() if amount != known.get(key, 0)}
        content = _content(closing.day, changed, reason)
        made = Closing.objects.seal(day=closing.day, content=content, sealed_by=actor, corrects=closing)
    _log(made)
    return made


def _content(since: datetime.date | None, found: Found, reason: str) -> dict[str, Any]:
    """Return the content of a closing that holds no movements, only what was found. `Report` reads it."""
    return {
        "since": str(since),
        "entries": [],
        "people": {},
        "online": [],
        "found": _nested(found),
        "drawers": [],
        "left_open": {"owed": [], "reviews": 0},
        "reason": reason,
    }


def _nested(found: Found) -> dict[str, dict[str, int]]:
    """Return what was found as JSON can hold it: by currency, then by method."""
    nested: dict[str, dict[str, int]] = {}
    for (currency, method), amount in found.items():
        nested.setdefault(currency, {})[method] = amount
    return nested


def _log(closing: Closing) -> None:
    """Log the closing's number and hash, because the log is kept outside the database."""
    logger.info("closing_sealed", extra={"closing": closing.number, "day": str(closing.day), "hash": closing.hash})
