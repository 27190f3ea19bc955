"""Addresses under which a calendar program fetches the appointments of a patient or of a practitioner."""

import datetime
import secrets
from typing import Self

from django.conf import settings
from django.db import models, transaction
from django.db.models import Q
from django.utils import timezone

from appointments.models import Practitioner
from people.digests import digest_of
from people.models import PatientFields

PREFIX = "cal-"  # begins every token; payments/logs.py finds the tokens by it


class CalendarLinkQuerySet(models.QuerySet["CalendarLink"]):
    def valid(self) -> Self:
        """Return the addresses that nobody has ended, of patients and practitioners who are still active."""
        return self.filter(Q(patient__is_active=True) | Q(practitioner__active=True), ended_at=None)

    def find(self, token: str) -> "CalendarLink":
        """Return the valid address with this token. Raises CalendarLink.DoesNotExist."""
        return self.valid().select_related("patient", "practitioner").get(digest=digest_of(token))

    def make(self, owner: PatientFields | Practitioner, actor: PatientFields, *, names: bool = False) -> str:
        """End the owner's address, if there is one, and return the token of a new one, which is stored nowhere."""
        token = PREFIX + secrets.token_urlsafe(16)
        with transaction.atomic():
            owner.__class__.objects.select_for_update(no_key=True).get(pk=owner.pk)
            self.end(owner, actor)
            whose = {"patient" if isinstance(owner, PatientFields) else "practitioner": owner}
            self.create(digest=digest_of(token), made_by=actor, names=names, **whose)  # type: ignore[misc]
        return token

    def end(self, owner: PatientFields | Practitioner, actor: PatientFields) -> None:
        """End the owner's address, if there is one: calendar programs find nothing there any more."""
        whose = {"patient" if isinstance(owner, PatientFields) else "practitioner": owner}
        self.filter(ended_at=None, **whose).update(ended_at=timezone.now(), ended_by=actor)


class CalendarLink(models.Model):
    """An address with the appointments of one patient or one practitioner. Only the hash of its token is stored.

    `names` says whether a practitioner's calendar names the patients and services.
    """

    patient = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, null=True, related_name="+")
    practitioner = models.ForeignKey(Practitioner, models.CASCADE, null=True, related_name="+")
    digest = models.CharField(max_length=64, unique=True)
    names = models.BooleanField(default=False)
    made_at = models.DateTimeField(default=timezone.now)
    made_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    ended_at = models.DateTimeField(null=True)
    ended_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, null=True, related_name="+")

    objects = CalendarLinkQuerySet.as_manager()

    class Meta:
        default_permissions = ()
        constraints = (
            models.CheckConstraint(condition=Q(patient=None) ^ Q(practitioner=None), name="calendar_of_one_person"),
            models.UniqueConstraint(fields=("patient",), condition=Q(ended_at=None), name="one_calendar_per_patient"),
            models.UniqueConstraint(
                fields=("practitioner",), condition=Q(ended_at=None), name="one_calendar_per_practitioner"
            ),
        )

    def __str__(self) -> str:
        return f"#{self.pk}"

    @property
    def owner_filter(self) -> dict[str, int | None]:
        """Return the query's conditions for the owner's appointments."""
        if self.patient_id:
            return {"appointment__patient": self.patient_id}
        return {"appointment__practitioner": self.practitioner_id}


def window() -> tuple[datetime.datetime, datetime.datetime]:
    """Return between which times a calendar's appointments start: 90 days ago and in 400 days."""
    now = timezone.now()
    return now - datetime.timedelta(days=90), now + datetime.timedelta(days=400)
