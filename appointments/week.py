"""Book a week at once: propose free times, then parse, check and book lines of "date time patient"."""

import datetime
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractUser
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Q, QuerySet
from django.forms.utils import from_current_timezone
from django.utils import timezone
from django.utils.translation import gettext as _

from .models import FIRST_DAY, LAST_DAY, Appointment, Practitioner

LINE = re.compile(r"(\S+)[ \t;,]+(\d{1,2})\s*[:hH]\s*(\d{2})?[ \t;,]*(.*)")
DATES = ("%Y-%m-%d", "%d/%m/%Y")


@dataclass(frozen=True, slots=True)
class Terms:
    """What all appointments that are booked at once share. `price` is for each, in minor units of `currency`."""

    practitioner: Practitioner
    service: str
    minutes: int
    price: int
    currency: str

    @property
    def length(self) -> datetime.timedelta:
        return datetime.timedelta(minutes=self.minutes)


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the form that books a week, after parsing. `start` is in UTC.

    `problem` says why the line can't be booked. `existing` is the reference of its appointment if that exists already.
    """

    number: int
    text: str
    start: datetime.datetime | None = None
    patient: AbstractUser | None = None
    problem: str = ""
    existing: str = ""  # the reference of the appointment that exists already

    @property
    def bookable(self) -> bool:
        return not self.problem and not self.existing


def free_times(
    terms: Terms, days: Iterable[datetime.date], first: datetime.time, last: datetime.time
) -> Iterator[datetime.datetime]:
    """Yield the start, in UTC, of each future slot of `terms.length` in which the practitioner is free.

    The slots lie on `days` between `first` and `last`, which are times of day in the clinic's time zone. A local time
    that occurs twice on a day, because the clocks are set back, is left out.
    """
    for day in days:
        start = _in_utc(datetime.datetime.combine(day, first))
        close = _in_utc(datetime.datetime.combine(day, last.replace(fold=1)))
        booked = Appointment.objects.overlapping(start, close).filter(practitioner=terms.practitioner)
        taken = list(booked.values_list("start", "end"))
        while (end := start + terms.length) <= close:
            free = not any(begins < end and ends > start for begins, ends in taken)
            if start > timezone.now() and free and moment(timezone.make_naive(start)):
                yield start
            start = end


def _in_utc(local: datetime.datetime) -> datetime.datetime:
    """Convert a time in the clinic's time zone to UTC, so that differences between times are right.

    Python subtracts times of one zone as clocks show them, which is wrong by an hour when the clocks change in between.
    If clocks show the time twice, `fold=0` means the first and `fold=1` the second. If they skip it, `fold=0` moves it
    an hour later and `fold=1` an hour earlier.
    """
    return timezone.make_aware(local).astimezone(datetime.UTC)


def moment(local: datetime.datetime) -> datetime.datetime | None:
    """Convert a time of the clinic to UTC; return None if the clocks skip this time or show it twice."""
    try:
        return from_current_timezone(local.replace(fold=0)).astimezone(datetime.UTC)
    except ValidationError:
        return None


def read(text: str, terms: Terms) -> list[Line]:
    """Return the lines of `text`, parsed and checked, except lines that are empty or name no patient.

    Each line is checked against existing appointments and the lines before it.
    """
    lines: list[Line] = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        parsed = _parsed(Line(number, line.strip()))
        if parsed.patient or parsed.problem:
            lines.append(_checked(parsed, terms, lines))
    return lines


def times_in(text: str) -> set[datetime.datetime]:
    """Return the start times that the lines of `text` name, whether or not a line names a patient."""
    return {start for line in text.splitlines() if (start := _parsed(Line(0, line.strip())).start)}


def _parsed(line: Line) -> Line:
    """Return a copy of `line` with its start and its patient, as read from its text; the patient is optional.

    If the start or the patient isn't valid, `problem` says so.
    """
    match = LINE.fullmatch(line.text)
    day = _day(match[1]) if match else None
    if not match or day is None or int(match[2]) > 23 or int(match[3] or 0) > 59:
        return replace(line, problem=_("Write a date, a time and a patient, such as “2026-05-31 09:30 Camille Roux”."))
    start = moment(datetime.datetime.combine(day, datetime.time(int(match[2]), int(match[3] or 0))))
    if start is None:
        return replace(line, problem=_("The clocks change that night: this time is skipped or comes twice."))
    line = replace(line, start=start)
    name = match[4].strip()
    if not name:
        return line
    found = list(patients_called(name)[:2])
    if len(found) == 1:
        return replace(line, patient=found[0])
    if found:
        return replace(line, problem=_("Several people have this name. Write the user name or the e-mail address."))
    return replace(line, problem=_("Nobody has this name. Write the user name, the e-mail address or the full name."))


def _day(text: str) -> datetime.date | None:
    for form in DATES:
        try:
            day = datetime.datetime.strptime(text, form).date()  # noqa: DTZ007 a day has no time zone
        except ValueError:
            continue
        return day if FIRST_DAY <= day <= LAST_DAY else None
    return None


def patients_called(name: str) -> QuerySet[AbstractUser]:
    """Return the active users whose user name, e-mail address or full name is `name`, ignoring upper and lower case.

    A full name may be the first name and then the last name, or the other way round. Its accents, apostrophes and
    hyphens may differ.
    """
    words = name.split()
    full_names = [" ".join(words[cut:] + words[:cut]) for cut in range(len(words))]
    called = Q(folded_name__in=full_names) & ~Q(folded_name="")  # a lone hyphen is nobody's name
    wanted = Q(username__iexact=name) | Q(email__iexact=name) | called
    return get_user_model().objects.filter(wanted, is_active=True).order_by("pk")


def _checked(line: Line, terms: Terms, before: Iterable[Line]) -> Line:
    """Return the line with `problem` set if it overlaps a line of `before`, or can't be booked for another reason.

    If the line's appointment exists already, `existing` is set instead.
    """
    if line.problem or line.start is None or line.patient is None:
        return line
    clashing = [other for other in before if other.start and abs(other.start - line.start) < terms.length]
    if clashing:
        return replace(line, problem=_("This time overlaps with line %(number)s.") % {"number": clashing[0].number})
    return _compared(line, line.start, terms)


def _compared(line: Line, start: datetime.datetime, terms: Terms) -> Line:
    """Return the line after checking it against existing appointments and the present time.

    `existing` is set if its appointment exists already. `problem` is set if its start has passed, or if the
    practitioner or the patient has another appointment then.
    """
    meant = Q(practitioner=terms.practitioner, patient=line.patient, start=start)
    near = Appointment.objects.overlapping(start, start + terms.length)
    if booked := near.filter(meant).first():
        return replace(line, existing=booked.reference)
    if start <= timezone.now():
        return replace(line, problem=_("This time has already passed."))
    if taken := near.filter(practitioner=terms.practitioner).first():
        return replace(
            line, problem=_("This time is taken by appointment %(reference)s.") % {"reference": taken.reference}
        )
    if elsewhere := near.filter(patient=line.patient).first():  # type: ignore[misc]
        problem = _("This patient has another appointment at this time: %(reference)s.") % {
            "reference": elsewhere.reference
        }
        return replace(line, problem=problem)
    return line


def book(line: Line, terms: Terms, actor: AbstractUser) -> Appointment | None:
    """Book the line and return its appointment, or None if its time has been taken since it was checked.

    Each line needs its own short transaction, because a booking locks the lists of changes that open pages read.
    """
    with transaction.atomic():
        Practitioner.objects.select_for_update().get(pk=terms.practitioner.pk)
        if line.start is None or not _compared(line, line.start, terms).bookable:
            return None
        appointment = Appointment(
            patient=line.patient,  # type: ignore[misc]
            practitioner=terms.practitioner,
            service=terms.service,
            start=line.start,
            end=line.start + terms.length,
            price_amount=terms.price,
            currency=terms.currency,
        )
        appointment.save(actor=actor)
        return appointment
