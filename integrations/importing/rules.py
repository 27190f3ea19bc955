"""Compares the rows of a file with what is stored, and plans what an import would do. Nothing is saved here."""

import datetime
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from copy import copy
from dataclasses import dataclass, field
from typing import Any, TypeVar

from django.core.exceptions import ValidationError
from django.utils import timezone
from django.utils.translation import gettext as _

from appointments.models import Appointment, Currency, Practitioner, Prepayment, Saved, Service
from people.models import PatientFields
from people.names import folded

from .cells import Line, WrongCellError, read_amounts, read_cells, start_of
from .people import People
from .table import Problem, Table

Item = TypeVar("Item")
Progress = Callable[[list[Item], str], Iterable[Item]]  # passes the items on, and may show how far it has come
COLUMN_OF = {"price_amount": "price", "deposit_amount": "deposit", "fee_amount": "cancellation_fee", "start": "date",
             "end": "minutes", "no_show_fee_amount": "price"}  # fmt: skip
AMOUNT_COLUMNS = {"price": "price_amount", "deposit": "deposit_amount", "cancellation_fee": "fee_amount"}
Booked = tuple[
    datetime.datetime, datetime.datetime, str, int
]  # start, end, id, and the row's number if it is of the file


@dataclass(slots=True)
class Plan:
    """What an import would do, or why it does nothing. `problems` are those of the file and of its rows.

    `new` and `changed` are unsaved appointments. `practitioners` get the external id that the file gives them.
    """

    table: Table
    new: list[Appointment] = field(default_factory=list)
    changed: list[Appointment] = field(default_factory=list)
    unchanged: int = 0
    new_patients: list[PatientFields] = field(default_factory=list)
    changed_patients: list[tuple[PatientFields, set[str]]] = field(default_factory=list)
    practitioners: list[Practitioner] = field(default_factory=list)

    @property
    def problems(self) -> list[Problem]:
        return sorted(self.table.problems, key=lambda problem: problem.row)

    @property
    def is_empty(self) -> bool:
        """Return whether the import changes nothing, because everything in the file is stored already."""
        return not (self.new or self.changed or self.new_patients or self.changed_patients or self.practitioners)

    @property
    def counts(self) -> dict[str, int]:
        return {
            "new": len(self.new),
            "changed": len(self.changed),
            "unchanged": self.unchanged,
            "new_patients": len(self.new_patients),
            "changed_patients": len(self.changed_patients),
        }


def quietly(items: list[Item], what: str) -> Iterable[Item]:
    """Pass the items on without showing how far the work has come."""
    return items


def make_plan(table: Table, *, overlaps: bool = False, locked: bool = False, progress: Progress[Any] = quietly) -> Plan:
    """Return the plan for a table. With `overlaps`, appointments may overlap.

    With `locked`, the rows that the plan depends on stay locked until the caller's transaction ends: appointments, then
    practitioners, then patients, as when one appointment is booked.
    """
    plan = Plan(table)
    lines = _without_doubles(table, read_cells(table))
    builder = _Builder(plan, lines, locked=locked)
    wrong = {problem.row for problem in table.problems}
    for line in progress([line for line in lines if not {0, line.number} & wrong], _("Checking")):
        try:
            builder.add(line)
        except WrongCellError as error:
            table.complain(line.number, builder.column, *error.args)
    builder.finish()
    if not overlaps and not table.problems:
        _report_overlaps(plan, builder.rows)
    return plan


def _without_doubles(table: Table, lines: Iterable[Line]) -> list[Line]:
    """Return the lines that have what every line needs, and an id that no line before has."""
    rows: dict[str, int] = {}
    kept = []
    for line in lines:
        lacking = [name for name in ("appointment_id", "date", "time") if name not in line.values]
        for name in lacking:
            table.complain(line.number, name, _("This cell is empty."), _("Fill it in."))
        if lacking:
            continue
        first = rows.setdefault(line.values["appointment_id"], line.number)
        if first != line.number:
            what = _("Row %(row)s has this id too.") % {"row": first}
            table.complain(line.number, "appointment_id", what, _("Remove one of the two rows."))
        else:
            kept.append(line)
    return kept


class _Builder:
    """Makes the plan's appointments line by line. `column` is the column that is being read, for problems.

    `rows` maps the ids of the appointments that are new or moved to the numbers of their rows.
    """

    def __init__(self, plan: Plan, lines: list[Line], *, locked: bool) -> None:
        self.plan, self.table, self.column = plan, plan.table, "appointment_id"
        self.rows: dict[str, int] = {}
        ids = [line.values["appointment_id"] for line in lines]
        stored = Appointment.objects.filter(external_id__among=ids).order_by("pk")
        practitioners = Practitioner.objects.order_by("pk")
        if locked:
            stored, practitioners = stored.select_for_update(), practitioners.select_for_update(no_key=True)
        self.stored = {appointment.external_id: appointment for appointment in stored}
        self.practitioners, self.called = list(practitioners), defaultdict[str, list[Practitioner]](list)
        for practitioner in self.practitioners:
            self.called[folded(practitioner.name)].append(practitioner)
        self.services = {folded(service.name): service for service in Service.objects.all()}
        self.people = People(lines, locked=locked)
        pairs = [(line, self._currency(line)) for line in lines]
        self.amounts = read_amounts(self.table, pairs)

    def _service(self, line: Line) -> Service | None:
        return self.services.get(folded(line.get("service") or ""))

    def _currency(self, line: Line) -> str:
        """Return the currency of the line: its own, else the stored appointment's, else the service's, else EUR."""
        stored, service = self.stored.get(line.values["appointment_id"]), self._service(line)
        known = stored.currency if stored else service.currency if service else Currency.EUR.value
        return str(line.get("currency") or known)

    def add(self, line: Line) -> None:
        """Add the line's appointment to the plan. Raises WrongCellError."""
        before = self.stored.get(line.values["appointment_id"])
        appointment = copy(before) if before else Appointment(external_id=line.values["appointment_id"])
        self._set_people(appointment, line, before)
        self.column = "service"
        self._set_service(appointment, line, before)
        self.column = "time"
        self._set_time(appointment, line, before)
        appointment.status = line.get("status") or appointment.status
        self.column = "price"
        self._set_amounts(appointment, line, before)
        self._file(appointment, before, line)

    def _set_people(self, appointment: Appointment, line: Line, before: Appointment | None) -> None:
        self.column = "patient_id" if line.get("patient_id") else "last_name"
        if not before or not {"patient_id", "last_name", "email"}.isdisjoint(line.values):
            appointment.patient = self.people.of(line)  # type: ignore[assignment]
        self.column = "practitioner_id" if line.get("practitioner_id") else "practitioner"
        if not before or self.column in line.values:
            appointment.practitioner = self._practitioner(line)

    def _practitioner(self, line: Line) -> Practitioner:
        number, name = line.get("practitioner_id"), folded(line.get("practitioner") or "")
        by_id = [each for each in self.practitioners if number and each.external_id == number]
        called = self.called.get(name, [])
        if by_id:
            return by_id[0]
        if len(called) > 1:
            raise WrongCellError(_("Several practitioners have this name."), _("Add the practitioner_id."))
        if not called or (number and called[0].external_id):
            raise WrongCellError(_("This practitioner isn’t known."), _("Correct it, or add the practitioner first."))
        if number:
            called[0].external_id = number
            self.plan.practitioners.append(called[0])
        return called[0]

    def _set_service(self, appointment: Appointment, line: Line, before: Appointment | None) -> None:
        if "service" in line.values:
            known = self._service(line)
            appointment.service = known.name if known else line.values["service"]
        elif not before:
            raise WrongCellError(_("This cell is empty."), _("Fill it in."))

    def _set_time(self, appointment: Appointment, line: Line, before: Appointment | None) -> None:
        """Set start and end. A time that clocks show twice is no problem if the appointment has it already."""
        service = self._service(line)
        minutes = line.get("minutes") or (service.minutes if service and not before else None)
        if before and _shown(before.start) == (line.values["date"], line.values["time"]):
            appointment.start = before.start
        else:
            appointment.start = start_of(line)
        if minutes:
            appointment.end = appointment.start + datetime.timedelta(minutes=minutes)
        elif before:
            appointment.end = appointment.start + (before.end - before.start)
        else:
            self.column = "minutes"
            raise WrongCellError(_("This cell is empty."), _("Fill it in, or name a service that this site knows."))

    def _set_amounts(self, appointment: Appointment, line: Line, before: Appointment | None) -> None:
        read, service = self.amounts.get(line.number, {}), self._service(line)
        if service and not before and service.currency == self._currency(line):
            appointment.price_amount, appointment.deposit_amount = service.price_amount, service.deposit_amount
            appointment.prepayment, appointment.no_show_fee_amount = service.prepayment, service.no_show_fee_amount
        appointment.currency = self._currency(line)
        for column, amount in read.items():
            setattr(appointment, AMOUNT_COLUMNS[column], amount)
        if appointment.price_amount is None:
            raise WrongCellError(_("This cell is empty."), _("Fill it in, or name a service that this site knows."))
        if not before:
            _fit_to_price(appointment, explicit=set(read))

    def _file(self, appointment: Appointment, before: Appointment | None, line: Line) -> None:
        """Put the appointment into the plan's list, if it is new or changed and valid."""
        changed = Saved(appointment, before).changed_fields
        if before and not changed:
            self.plan.unchanged += 1
            return
        try:
            appointment.clean()
        except ValidationError as error:
            for name, messages in error.message_dict.items():
                for message in messages:
                    self.table.complain(line.number, COLUMN_OF.get(name, name), message)
            return
        if not before or before.canceled or {"start", "end", "practitioner", "patient"} & changed:
            self.rows[appointment.external_id or ""] = line.number
        (self.plan.changed if before else self.plan.new).append(appointment)

    def finish(self) -> None:
        """Put what the lines say about patients into the plan."""
        self.plan.new_patients = self.people.created
        self.plan.changed_patients = list(self.people.changed.values())


def _fit_to_price(appointment: Appointment, explicit: set[str]) -> None:
    """Lower the deposit and the no-show fee that came from the service to the price of the row."""
    appointment.no_show_fee_amount = min(appointment.no_show_fee_amount, appointment.price_amount)
    if "deposit" not in explicit:
        appointment.deposit_amount = min(appointment.deposit_amount, appointment.price_amount)
    asked = {Prepayment.DEPOSIT: appointment.deposit_amount, Prepayment.CARD: appointment.no_show_fee_amount}
    if not asked.get(Prepayment(appointment.prepayment), 1):
        appointment.prepayment = Prepayment.NOTHING


def _shown(moment: datetime.datetime) -> tuple[datetime.date, datetime.time]:
    local = timezone.localtime(moment)
    return local.date(), local.time().replace(fold=0)


def _report_overlaps(plan: Plan, rows: dict[str, int]) -> None:
    """Add a problem for each appointment of `rows` that overlaps another one of its practitioner or patient."""
    planned = [each for each in (*plan.new, *plan.changed) if not each.canceled]
    if not rows or not planned:
        return
    first, last = min(each.start for each in planned), max(each.end for each in planned)
    others = Appointment.objects.overlapping(first, last).exclude(pk__among=[each.pk for each in plan.changed])
    calendars: defaultdict[tuple[str, int], list[Booked]] = defaultdict(list)
    for each in planned:
        for whose in (("practitioner", each.practitioner_id), ("patient", each.patient_id or id(each.patient))):
            calendars[whose].append((each.start, each.end, each.external_id or "", rows.get(each.external_id or "", 0)))
    stored = others.values_list("practitioner_id", "patient_id", "start", "end", "reference")
    for practitioner, patient, start, end, reference in stored.iterator():
        for whose in (("practitioner", practitioner), ("patient", patient)):
            if whose in calendars:
                calendars[whose].append((start, end, reference, 0))
    told: set[tuple[int, str]] = set()
    for (owner, _key), booked in calendars.items():
        for number, other in _overlapping(sorted(booked)):
            if (number, other) not in told:
                told.add((number, other))
                what = _("The %(whose)s has another appointment at this time: %(other)s.")
                names = {"practitioner": _("practitioner"), "patient": _("patient")}
                plan.table.complain(
                    number, "time", what % {"whose": names[owner], "other": other},
                    _("Correct the time, or allow overlaps for this file."),
                )  # fmt: skip


def _overlapping(booked: list[Booked]) -> Iterator[tuple[int, str]]:
    """Yield the row's number, and the id of the other appointment, for each pair of which one is to be booked."""
    open_ones: list[Booked] = []
    for each in booked:
        open_ones = [other for other in open_ones if other[1] > each[0]]
        for other in open_ones[:3]:
            if each[3]:
                yield each[3], other[2]
            elif other[3]:
                yield other[3], each[2]
        open_ones.append(each)
