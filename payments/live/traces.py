"""Who was told and who saw: how far each change has come on its way from Stripe to the patient's eyes."""

import datetime
import json
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from django.utils import timezone

from ..models import EventReceipt, FeedEntry, StatusChange
from ..models.feed import STAFF

AT_ONCE = 100  # payments that one page may say it shows


@dataclass(frozen=True, slots=True)
class Seen:
    """A page's word that it shows these payments as of this number, to somebody who can see it."""

    seq: int
    payments: list[uuid.UUID]

    @classmethod
    def parse(cls, text: str | None) -> Self | None:
        """From {"seen": 131, "payments": ["..."]}; None for anything else."""
        try:
            message = json.loads(text or "")
            seq, payments = message["seen"], [uuid.UUID(each) for each in message["payments"]]
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return None
        return cls(seq, payments) if type(seq) is int and 0 <= seq < 2**60 and len(payments) <= AT_ONCE else None


@dataclass(frozen=True, slots=True)
class Trace:
    """One change's way: happened at Stripe, received, applied, pushed to the patient, seen by the patient."""

    created: datetime.datetime | None
    received: datetime.datetime | None
    applied: datetime.datetime
    pushed: datetime.datetime | None
    seen: datetime.datetime | None


def mark_pushed(entries: Iterable[FeedEntry]) -> None:
    """Remember when a patient's entries first went to an open page."""
    FeedEntry.objects.filter(pk__in=[entry.pk for entry in entries], pushed_at=None).update(pushed_at=timezone.now())


def mark_seen(audience: str, seen: Seen) -> None:
    """Only in the speaker's own feed, and only a patient's."""
    if audience == STAFF:
        return
    told = FeedEntry.objects.filter(feed__audience=audience, seq__lte=seen.seq, seen_at=None)
    told.filter(payment__public_id__in=seen.payments).update(seen_at=timezone.now())


def traces(changes: Iterable[StatusChange]) -> dict[int, Trace]:
    """By the changes' primary keys, in two queries."""
    changes = list(changes)
    event_ids = {change.stripe_event_id for change in changes} - {""}
    received = dict(
        EventReceipt.objects.filter(stripe_event_id__in=event_ids).values_list("stripe_event_id", "received_at")
    )
    told = FeedEntry.objects.filter(change__in=changes).exclude(feed__audience=STAFF)
    ends = {change: (pushed, seen) for change, pushed, seen in told.values_list("change_id", "pushed_at", "seen_at")}
    return {
        change.pk: Trace(
            change.occurred_at,
            received.get(change.stripe_event_id),
            change.created_at,
            *ends.get(change.pk, (None, None)),
        )
        for change in changes
    }
