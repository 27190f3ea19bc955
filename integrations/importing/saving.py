"""Imports a file: reads it, checks it and, if nothing is wrong, saves all of it in one transaction."""

import hashlib
import logging

from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth import get_user_model
from django.contrib.contenttypes.models import ContentType
from django.db import transaction

from appointments.models import BATCH, Appointment, Practitioner
from payments.live.feeds import reload_pages
from people import sign_in
from people.models import PatientFields

from ..history import log
from .reader import read
from .rules import Plan, Progress, make_plan, quietly

logger = logging.getLogger(__name__)

MAY_IMPORT = "clinic_appointments.import_appointment"  # the permission to import


def preview(content: bytes, *, overlaps: bool = False, progress: Progress = quietly) -> Plan:  # type: ignore[type-arg]
    """Return what importing the file would do, and save nothing."""
    return make_plan(read(content), overlaps=overlaps, progress=progress)


def import_file(
    content: bytes,
    name: str,
    actor: PatientFields,
    *,
    overlaps: bool = False,
    progress: Progress = quietly,  # type: ignore[type-arg]
) -> Plan:
    """Import the file, and return what was done. If the plan has problems, nothing was saved.

    `name` is the file's name, of which only a hash is kept, because it may name a patient.
    """
    table = read(content)
    with transaction.atomic():
        plan = make_plan(table, overlaps=overlaps, locked=True, progress=progress)
        if plan.problems:
            return plan
        if not plan.is_empty:
            _save(plan, actor)
        _log(plan, name, content, actor)
    return plan


def _save(plan: Plan, actor: PatientFields) -> None:
    """Save what is planned. Patients come first, because their appointments need their keys; feeds come last."""
    get_user_model().objects.bulk_create(plan.new_patients, batch_size=BATCH)  # type: ignore[arg-type]
    Practitioner.objects.bulk_update(plan.practitioners, ["external_id"])
    _save_patients(plan, actor)
    appointments = [*plan.new, *plan.changed]
    for appointment in plan.new:
        appointment.patient = appointment.patient  # takes over the key that a new patient has now
    Appointment.objects.save_together(appointments, actor)


def _save_patients(plan: Plan, actor: PatientFields) -> None:
    """Save the changed patients. After the commit, open pages that show a changed name load again."""
    people = [person for person, _fields in plan.changed_patients]
    if not people:
        return
    fields = sorted(set().union(*(changed for _person, changed in plan.changed_patients)))
    get_user_model().objects.bulk_update(people, fields, batch_size=BATCH)  # type: ignore[arg-type]
    for person, changed in plan.changed_patients:
        if "email" in changed:
            sign_in.current().address_changed(person)
        log(actor, person, CHANGE, sorted(changed))
    renamed = [person.pk for person, changed in plan.changed_patients if changed & {"first_name", "last_name"}]
    if renamed:
        shown = Appointment.objects.filter(patient__in=renamed)
        transaction.on_commit(lambda: reload_pages(shown), robust=True)


def _log(plan: Plan, name: str, content: bytes, actor: PatientFields) -> None:
    """Write down who imported what: the numbers of changes, and hashes of the file's name and content."""
    about = {
        **plan.counts,
        "file_name": hashlib.sha256(name.encode()).hexdigest()[:16],
        "file": hashlib.sha256(content).hexdigest()[:16],
    }
    said = "import: " + ", ".join(f"{key} {value}" for key, value in about.items())
    LogEntry.objects.create(
        user=actor,  # type: ignore[misc]
        content_type=ContentType.objects.get_for_model(Appointment),
        object_repr="import",
        action_flag=CHANGE,
        change_message=said,
    )
    logger.info("appointments_imported", extra=about)
