"""Writes what other software changes into the admin's history."""

from collections.abc import Iterable

from django.contrib.admin.models import CHANGE, LogEntry
from django.db.models import Model

from people.models import PatientFields


def log(actor: PatientFields, row: Model, flag: int, fields: Iterable[str]) -> None:
    """Note that `actor` made or changed the row; `flag` is the admin's ADDITION or CHANGE, `fields` are the changed."""
    about = {"changed": {"fields": list(fields)}} if flag == CHANGE else {"added": {}}
    LogEntry.objects.log_actions(actor.pk, [row], flag, change_message=[about], single_object=True)
