"""The day as an agenda: one column for each practitioner, in which appointments stand at their hour."""

import datetime
from collections.abc import Iterable
from dataclasses import dataclass, field

from django.utils import timezone

from appointments.models import Practitioner

from ..models import Payment

STEP = 5  # minutes; the page places appointments in such steps
SHORTEST = 20  # minutes; a shorter appointment is drawn as if it took so long, so that its name can be read
LONGEST = 240  # minutes; a longer appointment is cut off
LANES = 4  # appointments of one practitioner at one time that are drawn side by side
OPEN_FROM, OPEN_UNTIL = 8, 18  # hours that are always shown


@dataclass(frozen=True, slots=True)
class Block:
    """An appointment's place: it starts at `hour` and `minute`, takes `length` minutes, in the column's lane `lane`."""

    payment: Payment
    hour: int
    minute: int
    length: int
    lane: int


@dataclass(slots=True)
class Column:
    """The appointments of one practitioner. `ends` are the ends of the last appointments in each lane."""

    practitioner: Practitioner
    blocks: list[Block] = field(default_factory=list)
    ends: list[datetime.datetime] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Agenda:
    """The columns in the order of their names, and the hours that they show, in the clinic's time zone."""

    hours: range
    columns: list[Column]

    @property
    def first_hour(self) -> int:
        return self.hours.start

    @property
    def now(self) -> tuple[int, int] | None:
        """Return the hour and minute at which a line shows what time it is, or None if that hour isn't shown."""
        now = timezone.localtime()
        return (now.hour, now.minute // STEP * STEP) if now.hour in self.hours else None


def agenda_of(payments: Iterable[Payment]) -> Agenda:
    """Return the agenda of these payments' appointments, which are on one day."""
    columns: dict[int, Column] = {}
    for payment in sorted(payments, key=lambda each: (each.appointment.start, each.appointment_id)):
        practitioner = payment.appointment.practitioner
        column = columns.setdefault(practitioner.pk, Column(practitioner))
        column.blocks.append(_place(payment, column))
    blocks = [block for column in columns.values() for block in column.blocks]
    first = min([OPEN_FROM, *(block.hour for block in blocks)])
    last = max([OPEN_UNTIL, *((block.hour * 60 + block.minute + block.length + 59) // 60 for block in blocks)])
    return Agenda(range(first, min(last, 24)), sorted(columns.values(), key=lambda each: each.practitioner.name))


def _place(payment: Payment, column: Column) -> Block:
    """Return the block of the column's next appointment, in the first lane that is free at its start."""
    start = timezone.localtime(payment.appointment.start)
    minutes = (payment.appointment.end - payment.appointment.start) // datetime.timedelta(minutes=1)
    midnight = (24 - start.hour) * 60 - start.minute
    length = min(max(minutes, SHORTEST), LONGEST, midnight)
    end = payment.appointment.start + datetime.timedelta(minutes=length)
    free = (lane for lane, until in enumerate(column.ends) if until <= payment.appointment.start)
    lane = min(next(free, len(column.ends)), LANES - 1)
    column.ends[lane : lane + 1] = [end]
    return Block(payment, start.hour, start.minute // STEP * STEP, max(STEP, length // STEP * STEP), lane + 1)
