"""Reads fees, net amounts and payouts from dj-stripe's copies of Stripe's balance transactions and payouts.

Nothing here calls Stripe. https://docs.stripe.com/payouts/reconciliation
"""

import datetime
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from django.db.models import QuerySet
from djstripe.models import BalanceTransaction
from djstripe.models import Payout as PayoutCopy

from ..models import BalanceLink

PayoutCopies = QuerySet[PayoutCopy]


@dataclass(frozen=True, slots=True)
class BalanceRow:
    """One balance transaction: money that came to the account's balance at Stripe or left it.

    Amounts are in minor units of `currency`, the balance's, which may differ from the payment's. Money that left is
    negative; `net` is `gross` less `fee`. `source_id` is the id of the charge, refund, dispute or payout that moved the
    money, or "". `category` is Stripe's reporting category, in which, unlike in its type, a part of a charge that was
    never captured isn't a refund. `payout_id` is "" until it is known.
    https://docs.stripe.com/reports/reporting-categories
    """

    stripe_id: str
    source_id: str
    payout_id: str
    category: str
    currency: str
    gross: int
    fee: int
    net: int
    created: datetime.datetime


def rows_of(source_ids: Iterable[str]) -> list[BalanceRow]:
    """Return the balance transactions of these charges, refunds and disputes, oldest first.

    A charge has none in its first seconds. A refund that failed and a dispute that was won have two.
    """
    wanted = [each for each in source_ids if each]
    return _rows(BalanceLink.objects.filter(source_id__among=wanted)) if wanted else []


def rows_in(payout_id: str) -> list[BalanceRow]:
    """Return the balance transactions that the payout contains, oldest first, or [] while they aren't known.

    The payout's own, which takes the money from the balance, is among them.
    """
    return _rows(BalanceLink.objects.filter(payout_id=payout_id))


def _rows(links: QuerySet[BalanceLink]) -> list[BalanceRow]:
    by_id = {link.stripe_id: link for link in links}
    found = BalanceTransaction.objects.filter(id__among=list(by_id)) if by_id else ()
    rows = [
        BalanceRow(
            stripe_id=row.id,
            source_id=by_id[row.id].source_id,
            payout_id=by_id[row.id].payout_id,
            category=row.reporting_category or row.type,
            currency=row.currency,
            gross=row.amount,
            fee=row.fee or 0,
            net=row.net if row.net is not None else row.amount,
            created=row.created,
        )
        for row in found
    ]
    return sorted(rows, key=lambda row: (row.created, -row.gross, row.stripe_id))


class Contents(StrEnum):
    """Whether it is known which balance transactions a payout contains."""

    KNOWN = "known"
    PENDING = "pending"  # Stripe hasn't completed the payout's reconciliation
    NOT_FETCHED = "not_fetched"  # Stripe has; `manage.py mirror` will fetch them
    UNKNOWABLE = "unknowable"  # of a manual or instant payout, Stripe doesn't know itself


@dataclass(frozen=True, slots=True)
class Payout:
    """A payout: money that Stripe sends to the clinic's bank account or, if `amount` is negative, takes from it.

    `amount` is in minor units of `currency`. A payout that is paid can still fail. Then `return_row_id` is the id of
    the balance transaction that puts the money back on the balance, else "". `bank` holds the last four digits of the
    bank account's number, or "".
    """

    stripe_id: str
    amount: int
    currency: str
    status: str
    arrival: datetime.date
    created: datetime.datetime
    contents: Contents
    instant: bool
    return_row_id: str
    failure_code: str
    bank: str


def payout_copies(
    first: datetime.date | None = None, last: datetime.date | None = None, currency: str = ""
) -> PayoutCopies:
    """Return dj-stripe's payouts that arrive from `first` to `last` inclusive, in this currency; the latest first.

    None and "" set no limit. Stripe's arrival dates are days in UTC.
    """
    found: PayoutCopies = PayoutCopy.objects.order_by("-stripe_data__arrival_date", "-created", "-id")
    if first:
        found = found.filter(stripe_data__arrival_date__gte=_midnight(first))
    if last:
        found = found.filter(stripe_data__arrival_date__lt=_midnight(last + datetime.timedelta(days=1)))
    return found.filter(currency=currency) if currency else found


def _midnight(day: datetime.date) -> int:
    return int(datetime.datetime.combine(day, datetime.time.min, datetime.UTC).timestamp())


def payouts(copies: Iterable[PayoutCopy]) -> list[Payout]:
    """Return the payouts of which these are dj-stripe's rows, in the order of `copies`."""
    copies = list(copies)
    known = BalanceLink.objects.known_payouts(copy.id for copy in copies)
    return [_payout(copy, copy.id in known) for copy in copies]


def payouts_by_id(ids: Iterable[str]) -> dict[str, Payout]:
    wanted = [each for each in ids if each]
    found = payouts(PayoutCopy.objects.filter(id__among=wanted)) if wanted else ()
    return {payout.stripe_id: payout for payout in found}


def _payout(copy: PayoutCopy, known: bool) -> Payout:
    data = copy.stripe_data
    destination = data.get("destination")
    if known:
        contents = Contents.KNOWN
    elif not data.get("automatic") or data.get("reconciliation_status") == "not_applicable":
        contents = Contents.UNKNOWABLE
    else:
        completed = data.get("reconciliation_status") == "completed"
        contents = Contents.NOT_FETCHED if completed else Contents.PENDING
    return Payout(
        stripe_id=copy.id,
        amount=data["amount"],
        currency=copy.currency,
        status=data["status"],
        arrival=datetime.datetime.fromtimestamp(data["arrival_date"], datetime.UTC).date(),
        created=copy.created,
        contents=contents,
        instant=data.get("method") == "instant",
        return_row_id=copy.failure_balance_transaction_id or "",
        failure_code=data.get("failure_code") or "",
        bank=str(destination.get("last4") or "") if isinstance(destination, dict) else "",
    )


def payout_currencies() -> list[str]:
    """Return the currencies in which there are payouts, sorted."""
    return sorted(PayoutCopy.objects.order_by().values_list("currency", flat=True).distinct())
