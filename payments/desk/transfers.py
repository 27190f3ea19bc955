"""What Stripe transfers to the bank: the lines of a payout, which add up to it, and what becomes of a payment's money.

In the code these are payouts, Stripe's word; on pages they are transfers.
"""

import datetime
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from django.db.models import TextChoices
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from ..domain.facts import DESK_KINDS, REQUEST_PREFIX, Kind
from ..domain.movements import MovementKind
from ..gateway.balance import BalanceRow, Contents, Payout, payouts_by_id, rows_in, rows_of
from ..models import Fact, JournalLine, Payment

NONE: Mapping[str, Any] = MappingProxyType({})
MAY_STILL_FAIL = datetime.timedelta(days=10)  # after its arrival, in which a bank may send a transfer back


class Category(TextChoices):
    """Stripe's reporting categories that clinics meet. Pages show any other by its name at Stripe.

    https://docs.stripe.com/reports/reporting-categories
    """

    CHARGE = "charge", gettext_lazy("Payment")
    CHARGE_FAILURE = "charge_failure", gettext_lazy("Failed payment")
    PARTIAL_CAPTURE_REVERSAL = "partial_capture_reversal", gettext_lazy("Part that was not captured")
    REFUND = "refund", gettext_lazy("Refund")
    REFUND_FAILURE = "refund_failure", gettext_lazy("Failed refund")
    DISPUTE = "dispute", gettext_lazy("Dispute")
    DISPUTE_REVERSAL = "dispute_reversal", gettext_lazy("Dispute won")
    FEE = "fee", gettext_lazy("Stripe’s fees")
    PAYOUT = "payout", gettext_lazy("Another transfer to the bank")
    PAYOUT_REVERSAL = "payout_reversal", gettext_lazy("Transfer returned by the bank")


def category_label(category: str) -> str:
    """Return the label of a reporting category; one without a label is named as Stripe names it."""
    if category in Category.values:
        return str(Category(category).label)
    return _("Other (%(category)s)") % {"category": category.replace("_", " ")}


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a transfer, or of a payment's money at Stripe. Amounts are in minor units of `currency`.

    `row` is the balance transaction; it is None for the transfer's own fee, and for a difference that no balance
    transaction explains. `payment` is None if the line isn't about a payment of this site.
    """

    label: str
    currency: str
    gross: int
    fee: int
    net: int
    row: BalanceRow | None = None
    payment: Payment | None = None
    payout: Payout | None = None  # the transfer that contains the line, as far as it is known

    @property
    def when(self) -> datetime.datetime | None:
        return self.row.created if self.row else None


@dataclass(frozen=True, slots=True)
class Sum:
    """The sum of a transfer's lines of one kind, in minor units of the transfer's currency."""

    label: str
    currency: str
    count: int
    gross: int
    fee: int
    net: int


@dataclass(frozen=True, slots=True)
class Transfer:
    """A payout and the lines that it is made of, oldest first.

    If the contents are known, the lines' net amounts add up to the payout exactly: a difference that Stripe's rows
    leave is the last line. `returned_in` is the payout with the money that the bank sent back.
    """

    payout: Payout
    lines: Sequence[Line] = ()
    difference: int = 0  # minor units
    returned_in: Payout | None = None

    @property
    def sums(self) -> list[Sum]:
        """Return the sums of the lines by kind, in the order of the first line of each, without other currencies."""
        kinds: dict[str, list[Line]] = {}
        for line in self.lines:
            if line.currency == self.payout.currency:
                kinds.setdefault(line.label, []).append(line)
        return [Sum(label, self.payout.currency, len(found), *_totals(found)) for label, found in kinds.items()]

    @property
    def total(self) -> Sum:
        lines = [line for line in self.lines if line.currency == self.payout.currency]
        return Sum(_("Transfer"), self.payout.currency, len(lines), *_totals(lines))


def _totals(lines: Iterable[Line]) -> tuple[int, int, int]:
    lines = list(lines)
    return sum(line.gross for line in lines), sum(line.fee for line in lines), sum(line.net for line in lines)


def transfer_of(payout: Payout) -> Transfer:
    """Return the payout with its lines; there are none unless its contents are known.

    The payout's own balance transaction is no line, because it takes what the other lines bring. Only its fee is one.
    """
    returned_in = _returned_in(payout)
    if payout.contents != Contents.KNOWN:
        return Transfer(payout, returned_in=returned_in)
    rows, fee = [], 0
    for row in rows_in(payout.stripe_id):
        if row.source_id == payout.stripe_id and row.category == Category.PAYOUT:
            fee += row.fee
        else:
            rows.append(row)
    lines = _lines(rows, payments=_payments_of(rows))
    if fee:
        lines.append(Line(str(Category.FEE.label), payout.currency, 0, fee, -fee))
    difference = payout.amount - sum(line.net for line in lines if line.currency == payout.currency)
    if difference:
        label = _("Difference that Stripe does not explain")
        lines.append(Line(label, payout.currency, difference, 0, difference))
    return Transfer(payout, lines, difference, returned_in)


def _returned_in(payout: Payout) -> Payout | None:
    if not payout.return_row_id:
        return None
    rows = rows_of([payout.stripe_id])
    found = payouts_by_id(row.payout_id for row in rows if row.stripe_id == payout.return_row_id)
    return next(iter(found.values()), None)


def _lines(
    rows: Iterable[BalanceRow],
    *,
    payments: Mapping[str, Payment] = NONE,
    payouts: Mapping[str, Payout] = NONE,
) -> list[Line]:
    """Return a line for each balance transaction; `payments` are by source id, `payouts` by their own ids."""
    return [
        Line(
            category_label(row.category),
            row.currency,
            row.gross,
            row.fee,
            row.net,
            row,
            payments.get(row.source_id),
            payouts.get(row.payout_id),
        )
        for row in rows
    ]


def _payments_of(rows: Iterable[BalanceRow]) -> dict[str, Payment]:
    """Return the payments that the balance transactions are about, by the id of the charge, refund or dispute."""
    ids = list({row.source_id for row in rows} - {""})
    facts = Fact.objects.exclude(payment=None).select_related("payment__appointment__patient")
    found = {fact.charge_id: fact.payment for fact in facts.filter(charge_id__gt="", charge_id__among=ids)}
    found |= {fact.stripe_id: fact.payment for fact in facts.filter(stripe_id__among=ids)}
    return {source_id: payment for source_id, payment in found.items() if payment}


def source_of(fact: Fact) -> str:
    """Return the id of the charge, refund or dispute whose balance transactions show what the fact moved, or ""."""
    return fact.stripe_id if fact.kind in (Kind.CHARGE, Kind.REFUND, Kind.DISPUTE) else fact.charge_id


@dataclass(frozen=True, slots=True)
class AtStripe:
    """What became of a charge's, refund's or dispute's money: sums of all its balance transactions, in minor units.

    `payout_ids` names the payouts that contain them, in order; one that isn't known yet is left out.
    """

    currency: str
    gross: int = 0
    fee: int = 0
    net: int = 0
    payout_ids: tuple[str, ...] = ()


def at_stripe(stripe_ids: Iterable[str]) -> dict[str, AtStripe]:
    """Return fee, net amount and payouts of these charges, refunds and disputes (see `source_of`), by their Stripe ids.

    An id whose fee Stripe hasn't told yet is missing in the dict.
    """
    return {source_id: _sum(rows) for source_id, rows in _by_source(stripe_ids).items()}


def lines_at_stripe(lines: Iterable[JournalLine]) -> list[AtStripe | None]:
    """Return fee, net amount and payouts of each of the journal's lines, in their order.

    An entry at the desk has none, nor has a line whose fee Stripe hasn't told yet. The two lines of a dispute that was
    won share its balance transactions: the second has those that gave the money back. A refund that is known only from
    its charge has none, because the charge's are those of the payment.
    """
    lines = list(lines)
    rows = _by_source(source_of(line.fact) for line in lines if line.fact.kind not in DESK_KINDS)
    found = ([row for row in rows.get(source_of(line.fact), ()) if _is_about(row, line)] for line in lines)
    return [_sum(about) if about else None for about in found]


def _is_about(row: BalanceRow, line: JournalLine) -> bool:
    if line.kind == MovementKind.REFUND:
        return line.fact.kind == Kind.REFUND
    gives_back = row.category == Category.DISPUTE_REVERSAL
    return gives_back if line.kind == MovementKind.REINSTATED else not gives_back


def _by_source(stripe_ids: Iterable[str]) -> dict[str, list[BalanceRow]]:
    found: dict[str, list[BalanceRow]] = {}
    for row in rows_of(stripe_ids):
        found.setdefault(row.source_id, []).append(row)
    return found


def _sum(rows: Sequence[BalanceRow]) -> AtStripe:
    """Return the sums of balance transactions, of which there is at least one.

    If a balance changed its currency in between, only rows in the currency of the first one are summed up.
    """
    currency = rows[0].currency
    rows = [row for row in rows if row.currency == currency]
    payouts = dict.fromkeys(row.payout_id for row in rows if row.payout_id)
    return AtStripe(
        currency,
        sum(row.gross for row in rows),
        sum(row.fee for row in rows),
        sum(row.net for row in rows),
        tuple(payouts),
    )


@dataclass(frozen=True, slots=True)
class PaymentAtStripe:
    """The lines of a payment's charges, refunds and disputes at Stripe, oldest first, and how many have none yet."""

    lines: Sequence[Line]
    not_known_yet: int


def payment_at_stripe(payment: Payment) -> PaymentAtStripe:
    """Return the fee, net amount and transfer of all that a payment moved at Stripe."""
    facts = [fact for fact in payment.facts.all() if not fact.stripe_id.startswith(REQUEST_PREFIX)]
    moved = {source_of(fact) for fact in facts if fact.status == "succeeded" and fact.amount} - {""}
    rows = rows_of({source_of(fact) for fact in facts})
    lines = _lines(rows, payouts=payouts_by_id(row.payout_id for row in rows))
    return PaymentAtStripe(lines, len(moved - {row.source_id for row in rows}))


def status_words(payout: Payout) -> str:
    """Say where the payout stands. One that Stripe calls paid may still be sent back by the bank."""
    if payout.amount < 0 and payout.status == "paid":
        return _("Taken from the bank")
    words = {
        "pending": _("Planned"),
        "in_transit": _("On its way"),
        "paid": _("Sent to the bank"),
        "canceled": _("Cancelled"),
        "failed": _("Sent back by the bank"),
    }
    return words.get(payout.status, payout.status.replace("_", " "))


def contents_words(payout: Payout) -> str:
    """Say why the payout's lines aren't known, or return "" if they are."""
    if payout.contents == Contents.UNKNOWABLE and payout.instant:
        return _("Instant transfer: Stripe does not know which payments it contains.")
    return {
        Contents.KNOWN: "",
        Contents.PENDING: _("Stripe is still listing what this transfer contains."),
        Contents.NOT_FETCHED: _("What this transfer contains has not been fetched from Stripe yet."),
        Contents.UNKNOWABLE: _("Transfer made by hand: Stripe does not know which payments it contains."),
    }[payout.contents]


def may_still_fail(payout: Payout) -> bool:
    """Return whether the bank may still send the money back although Stripe calls the payout paid."""
    return payout.status == "paid" and payout.arrival + MAY_STILL_FAIL > timezone.localdate()
