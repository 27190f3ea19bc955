"""Saves a row under the id of other software, also when two requests make it at once."""

from collections.abc import Callable
from typing import Any, TypeVar

from django.db import IntegrityError
from django.db.models import QuerySet

from appointments.booking import OverlapError

from .problems import Problem

Result = TypeVar("Result")


def upsert(rows: QuerySet[Any], external_id: str, save: Callable[[], Result]) -> Result:
    """Return the result of `save`, which makes or changes the row with this id among `rows`.

    If `save` makes the row and fails, because another request has made the row meanwhile, call it again: it then finds
    the row. Both requests may even be one that was sent twice.
    """
    known = rows.filter(external_id=external_id).exists()
    try:
        return save()
    except (IntegrityError, OverlapError, Problem):
        if known or not rows.filter(external_id=external_id).exists():
            raise
        return save()
