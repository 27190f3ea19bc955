"""Records when a change of a payment was pushed to the patient's page and when the patient saw it.

A change's trace consists of these two times and of the earlier ones, such as when Stripe created the event.
"""

import datetime
import json
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from django.utils import timezone

from ..models import EventReceipt, FeedEntry, StatusChange
from ..models.feed import STAFF

AT_ONCE = 100  # payments that one page may report as seen


@dataclass(frozen=True, slots=True)
class Seen:
    """A page's report that somebody is looking at these payments (public ids).

    The page has all entries of its feed up to number `seq`.
    """

    seq: int
    payments: list[uuid.UUID]

    @classmethod
    def parse(cls, text: str | None) -> Self | None:
        """Parse a report such as {"seen": 131, "payments": ["<public id>"]}. Return None for any other text."""
        try:
            message = json.loads(text or "")
            seq, payments = message["seen"], [uuid.UUID(each) for each in message["payments"]]
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return None
        return cls(seq, payments) if type(seq) is int and 0 <= seq < 2**60 and len(payments) <= AT_ONCE else None


@dataclass(frozen=True, slots=True)
class Trace:
    """When one change was created at Stripe, received and applied here, pushed to the patient's page, and seen there.

    None stands for a step that didn't happen or hasn't happened yet.
    """

    created: datetime.datetime | None
    received: datetime.datetime | None
    applied: datetime.datetime
    pushed: datetime.datetime | None
    seen: datetime.datetime | None


def mark_pushed(entries: Iterable[FeedEntry]) -> None:
    """Store that these entries of a patient's feed were pushed to a page now, unless an earlier time is stored."""
    FeedEntry.objects.filter(pk__in=[entry.pk for entry in entries], pushed_at=None).update(pushed_at=timezone.now())


def mark_seen(audience: str, seen: Seen) -> None:
    """Store the present time as when a patient saw the entries in the report `seen`, unless an earlier time is stored.

    `audience` is "patient.<id>" of the reporting user: only entries of this patient's feed are marked. If it is
    "staff", nothing is stored.
    """
    if audience == STAFF:
        return
    unseen = FeedEntry.objects.filter(feed__audience=audience, seq__lte=seen.seq, seen_at=None)
    unseen.filter(payment__public_id__in=seen.payments).update(seen_at=timezone.now())


def traces(changes: Iterable[StatusChange]) -> dict[int, Trace]:
    """Return each change's trace (when it passed each step from Stripe to the page), by the change's primary key.

    Makes two queries.
    """
    changes = list(changes)
    event_ids = {change.stripe_event_id for change in changes} - {""}
    received = dict(
        EventReceipt.objects.filter(stripe_event_id__in=event_ids).values_list("stripe_event_id", "received_at")
    )
    entries = FeedEntry.objects.filter(change__in=changes).exclude(feed__audience=STAFF)
    ends = {change: (pushed, seen) for change, pushed, seen in entries.values_list("change_id", "pushed_at", "seen_at")}
    return {
        change.pk: Trace(
            change.occurred_at,
            received.get(change.stripe_event_id),
            change.created_at,
            *ends.get(change.pk, (None, None)),
        )
        for change in changes
    }
