"""Answers of the HTTP API to requests with an Idempotency-Key, kept so that a repeated request acts once."""

import datetime
import uuid
from typing import Self

from django.db import models
from django.utils import timezone

from .api_key import ApiKey

KEPT = datetime.timedelta(hours=24)
LONGEST_RUN = datetime.timedelta(minutes=1)  # after which a request without an answer has died with its process


class StoredAnswerQuerySet(models.QuerySet["StoredAnswer"]):
    def expired(self) -> Self:
        return self.filter(started_at__lt=timezone.now() - KEPT)

    def begin(self, api_key: ApiKey, name: str, fingerprint: str) -> "tuple[StoredAnswer, bool]":
        """Return the row of the request that `name` stands for, and whether the caller has to run the request.

        `name` is the hash of the Idempotency-Key, and `fingerprint` that of the request. The row is committed before
        the request runs, so that a concurrent request with the name finds it. If the request runs or has run, its row
        is returned. A row of a request that died with its process is taken over.
        """
        row, made = self.get_or_create(api_key=api_key, name=name, defaults={"fingerprint": fingerprint})
        if made:
            return row, True
        now = timezone.now()
        if row.started_at < now - KEPT:
            fresh = {"fingerprint": fingerprint, "started_at": now, "effect": uuid.uuid4(), "answer": None}
        elif row.answer is None and row.fingerprint == fingerprint and row.started_at < now - LONGEST_RUN:
            fresh = {"started_at": now}
        else:
            return row, False
        taken = self.filter(pk=row.pk, started_at=row.started_at).update(**fresh)
        row.refresh_from_db()
        return row, bool(taken)


class StoredAnswer(models.Model):
    """A request with an Idempotency-Key, and its answer once it has run.

    `effect` is what the request's entries at the desk are recorded under: a request that runs again, because its
    process died before the answer was stored, records them once. `answer` is encrypted, because it may hold a patient's
    data or the token of a pay link; only a client that repeats the request has the key to it (api/idempotency.py).
    """

    api_key = models.ForeignKey(ApiKey, models.CASCADE, related_name="+")
    name = models.CharField(max_length=64)
    fingerprint = models.CharField(max_length=64)
    effect = models.UUIDField(default=uuid.uuid4)
    started_at = models.DateTimeField(default=timezone.now, db_index=True)
    answer = models.BinaryField(null=True)

    objects = StoredAnswerQuerySet.as_manager()

    class Meta:
        default_permissions = ()
        constraints = (models.UniqueConstraint(fields=("api_key", "name"), name="one_answer_per_idempotency_key"),)

    def __str__(self) -> str:
        return f"{self.api_key_id} {self.name[:8]}"
