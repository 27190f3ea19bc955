"""Names what an e-mail about a change reports, so that the same news is recognised after a backup was restored.

A restore loses the newest changes. They are made again from what Stripe says, but with other numbers and times.
"""

import datetime
from itertools import pairwise
from typing import NamedTuple

from django.db.models import Max

from ..domain.facts import Kind
from ..domain.status import PaymentStatus
from ..models import Email, StatusChange

# The facts that date a change which no event of Stripe's caused, by the kind of its e-mail.
DATED_BY = {
    Email.Kind.RECEIPT: (Kind.SESSION, Kind.INTENT, Kind.CHARGE, Kind.OFFLINE),
    Email.Kind.REFUND: (Kind.REFUND, Kind.DESK_REFUND),
    Email.Kind.TAKEN_BACK: (Kind.DISPUTE,),
    Email.Kind.DEBIT_FAILED: (Kind.SESSION, Kind.INTENT, Kind.CHARGE),
}


# The sum of the payment that each kind of e-mail reports when it grows; the first one that has grown is reported.
TOTALS = {Email.Kind.TAKEN_BACK: "lost", Email.Kind.REFUND: "refunded", Email.Kind.RECEIPT: "received"}


class Report(NamedTuple):
    """What an e-mail reports. Amounts are in minor units of the payment's currency.

    `total` is what was received, refunded or taken back so far. `amount` is the part of `total` that is new or, if a
    direct debit failed, the amount of that debit.
    """

    kind: Email.Kind
    total: int
    amount: int


def report_of(change: StatusChange) -> Report | None:
    """Return what an e-mail about this change reports, or None if the change needs no e-mail."""
    return _reports_until(change)[-1]


def name_of(change: StatusChange) -> str:
    """Return a name for what an e-mail about this change reports, such as "<public id>.receipt.5000.1".

    The last number counts how often this payment has reached the total: 2 if a refund failed and was made again. The
    name contains no row's number, so that it stays the same after a restore.
    """
    reports = [(report.kind, report.total) for report in _reports_until(change) if report]
    kind, total = reports[-1]
    return f"{change.payment.public_id}.{kind}.{total}.{reports.count((kind, total))}"


def happened_at(change: StatusChange, report: Report) -> datetime.datetime:
    """Return when the reported thing happened: the time of Stripe's event or, without one, of the newest such fact.

    A fact is the state of one Stripe object or desk entry. Without one, the time of the change itself is returned.
    """
    if change.occurred_at:
        return change.occurred_at
    facts = change.payment.facts.filter(kind__in=DATED_BY[report.kind])
    newest = facts.aggregate(newest=Max("created"))["newest"]
    return datetime.datetime.fromtimestamp(newest, datetime.UTC) if newest else change.created_at


def _reports_until(change: StatusChange) -> list[Report | None]:
    """Return what each of the payment's changes up to this one reports, oldest first; None if no e-mail is due."""
    changes = change.payment.changes.filter(version__lte=change.version).order_by("version")
    return [_report(before, after) for before, after in pairwise([None, *changes]) if after]


def _report(before: StatusChange | None, after: StatusChange) -> Report | None:
    amounts, earlier = after.standing["amounts"], before.standing["amounts"] if before else {}
    for kind, name in TOTALS.items():
        if (more := amounts[name] - earlier.get(name, 0)) > 0:
            return Report(kind, amounts[name], more)
    failed = after.to_status in (PaymentStatus.FAILED, PaymentStatus.UNDERPAID)
    if before and before.standing["attempt"] == "charging":  # staff have tried to charge a kept card
        return None
    if after.from_status == PaymentStatus.PROCESSING and failed:
        return Report(Email.Kind.DEBIT_FAILED, 0, earlier["on_its_way"])
    return None
