"""The operation of the API that tells what has changed: the staff's feed, with the numbers that pages know it by.

A feed is a numbered list of changes of payments. A request that waits for the next change waits before it comes here,
in waiting.py.
"""

import datetime
from typing import Annotated, Any

from django.utils import timezone
from ninja import Query, Router, Schema
from pydantic import Field

from payments.domain.status import PaymentStatus
from payments.live.feeds import entries_after
from payments.models import FeedEntry, StatusChange
from payments.models.feed import STAFF

from ..change_data import change_data
from ..models.api_key import Scope
from .guard import guarded
from .keys import KeyRequest
from .money import Currency, Sum
from .strict import PLAIN, WHOLE

router = Router(tags=["Changes"])
LONGEST_WAIT = 25  # seconds, less than proxies wait for an answer


class Asked(Schema):
    """From where the client follows the changes, and how long it waits for one."""

    after: Annotated[
        int, Field(ge=0, description="The number of the last change that the client has handled."), WHOLE
    ] = 0
    epoch: Annotated[str, Field(max_length=64, description="The epoch to which `after` belongs."), PLAIN] = ""
    wait: Annotated[
        int, Field(ge=0, le=LONGEST_WAIT, description="For how many seconds to wait for a change."), WHOLE
    ] = 0


class ChangeOut(Schema):
    """One change of a payment: of its status, its amounts, or its appointment's time, price or attendance."""

    number: Annotated[int, Field(description="Its place in the list; no number is left out.", examples=[131])]
    at: Annotated[datetime.datetime, Field(examples=["2026-03-09T14:30:00+01:00"])]
    payment_id: Annotated[str, Field(examples=["6f1a3b1e-7f0c-4b3e-9a57-0d5c1b6f2a11"])]
    appointment_reference: Annotated[str, Field(examples=["K7QM2XPA"])]
    appointment_external_id: Annotated[str | None, Field(examples=["visit-815"])]
    version: Annotated[int, Field(description="The payment’s version after this change.", examples=[4])]
    source: Annotated[str, Field(json_schema_extra={"enum": StatusChange.Source.values}, examples=["webhook"])]
    status_before: Annotated[str, Field(json_schema_extra={"enum": PaymentStatus.values}, examples=["checkout_open"])]
    status: Annotated[str, Field(json_schema_extra={"enum": PaymentStatus.values}, examples=["paid"])]
    appointment_changes: Annotated[
        list[str], Field(description="What changed in the appointment, such as start.", examples=[["start", "end"]])
    ]
    currency: Currency
    amount_due: Sum
    amount_received: Sum
    amount_refunded: Sum
    amount_owed: Sum
    amount_overpaid: Sum


class Changes(Schema):
    """Changes after the number that was asked for, oldest first, at most 100.

    `reset` says that the list can't be continued from there: read all that you show again, and go on after `last` in
    this `epoch`.
    """

    epoch: Annotated[str, Field(examples=["b3f1c2d4e5a60718"])]
    last: Annotated[int, Field(description="Send it as `after` in the next request.", examples=[131])]
    more: Annotated[bool, Field(description="Whether further changes wait already.", examples=[False])]
    reset: Annotated[bool, Field(examples=[False])]
    changes: list[ChangeOut]


@router.get("/changes", response=Changes, url_name="changes", summary="Follow changes")
@guarded(Scope.READ, parameters=Asked.model_fields)
def get_changes(request: KeyRequest, asked: Query[Asked]) -> dict[str, Any]:
    """Return what has changed after number `after`; with `wait`, the answer comes at the first change.

    The first request needs no parameter; it is answered with a reset, as is one whose `epoch` is over or whose `after`
    is too old or too new. An answer without changes says that nothing has changed. A key may have a few requests
    waiting at once; others are answered at once.
    """
    batch = entries_after(STAFF, asked.after, asked.epoch)
    return {
        "epoch": batch.epoch,
        "last": batch.last,
        "more": batch.last < batch.head,
        "reset": batch.reset,
        "changes": [_shown(entry) for entry in batch.entries],
    }


def _shown(entry: FeedEntry) -> dict[str, Any]:
    """Return the entry for ChangeOut, which leaves out the sums that it doesn't name."""
    change = entry.change
    return change_data(entry.payment, change) | {
        "number": entry.seq,
        "at": timezone.localtime(change.created_at),
        "source": change.source,
        "appointment_changes": sorted(change.booking),
    }
