"""Changes the status of payments. No other module does.

A change is committed together with the facts (states of Stripe objects) that caused the change, and with the change's
entries in the feeds, the lists of changes that pages follow.
"""

import datetime
import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from django.contrib.auth.models import AbstractUser
from django.db import transaction

from . import logs
from .db.statements import Statement, insert, update
from .domain.cards import card_of
from .domain.facts import StripeFact
from .domain.status import PaymentStatus, derive
from .linking import LockedRows
from .models import EventReceipt, Fact, Feed, FeedEntry, Payment, StatusChange
from .models.payment import RESULTS, SUMS
from .signals import changes_sent, entries_committed, payment_confirmed, payment_status_changed

logger = logging.getLogger(__name__)
Outcome = EventReceipt.Outcome
Source = StatusChange.Source

MOVED = ("status", *(f"amount_{name}" for name in SUMS + RESULTS), "payable", "attempt", "failure_code", "method",
         "dispute_due_by", "reviews", "card", "card_brand", "card_last4", "card_limit", "version",
         "updated_at")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Cause:
    """Why a payment changed: the source, Stripe's event, the person, the time, and the id of the HTTP request.

    The audit log and the payment's timeline show it.
    """

    source: StatusChange.Source
    stripe_event_id: str = ""
    actor: AbstractUser | None = None
    occurred_at: datetime.datetime | None = None
    request_id: str = field(default_factory=logs.request_id.get)


@dataclass(frozen=True, slots=True)
class Recorded:
    """The result of recording facts (states of Stripe objects).

    `payment` is None if the facts' payment isn't known. `change` is None if the payment's status and amounts didn't
    change.
    """

    outcome: EventReceipt.Outcome
    payment: Payment | None = None
    change: StatusChange | None = None


def record(facts: Sequence[StripeFact], cause: Cause) -> Recorded:
    """Merge new facts about one payment into its stored facts, and store the change of status or amounts, if any.

    A fact is the state of one Stripe object. If the payment isn't known yet, the facts are stored without a payment,
    and the result's outcome is DEFERRED. If the facts can't be about a payment of this site, the facts are dropped, and
    the outcome is IGNORED_FOREIGN.
    """
    with transaction.atomic(savepoint=False):
        ledger = Ledger(LockedRows(facts))
        recorded = ledger.record(facts, cause)
        ledger.write()
    return recorded


def rederive(payment: Payment, cause: Cause) -> None:
    """Store the status, sums and journal lines that follow from the payment's facts, if others are stored.

    A fact is the state of one Stripe object or an entry at the desk. Only something that bypassed the ledger makes a
    difference.
    """
    with transaction.atomic(savepoint=False):
        ledger = Ledger(LockedRows((), payments=[payment.public_id]))
        for row in ledger.rows.payments.values():
            ledger.update(row, ledger.rows.absorb((), row), cause)
        ledger.write()


class Ledger:
    """Records facts (states of Stripe objects) about any number of payments, one after the other, in one transaction.

    The locked `rows` are changed in memory; `write` then stores all changes in one round trip. So each of several
    events gets its own outcome and its own StatusChange, but a payment that they change is written once.
    """

    def __init__(self, rows: LockedRows) -> None:
        self.rows = rows
        self._payments: dict[int, Payment] = {}
        self._changes: list[tuple[StatusChange, Cause]] = []

    def touch(self, payment: Payment) -> None:
        """Have `write` store this payment."""
        self._payments[payment.pk] = payment

    def record(self, facts: Sequence[StripeFact], cause: Cause) -> Recorded:
        """Do what the function `record` does, but write nothing yet."""
        payment = self.rows.find_payment(facts)
        if payment is None:
            return Recorded(self.rows.keep_waiting(facts, cause.actor))
        merged = self.rows.absorb(facts, payment, cause.actor)
        change = self.update(payment, merged, replace(cause, actor=cause.actor or _requester(facts, merged)))
        return Recorded(Outcome.APPLIED if change else Outcome.NO_CHANGE, payment, change)

    def update(
        self, payment: Payment, facts: Sequence[Fact], cause: Cause, booking: Mapping[str, object] | None = None
    ) -> StatusChange | None:
        """Compute the payment's status and amounts from `facts`; return the change, if any.

        `facts` are all stored facts (states of Stripe objects) of the payment. `booking` holds the appointment's
        changed fields; if there are any, there is a change even if status and amounts didn't change.
        """
        known = [fact.value for fact in facts]
        standing = derive(known, payment.terms)
        payment.card_last4 = card_of(known).last4  # personal, so that no StatusChange holds it
        if not booking and replace(standing, method=payment.method) == payment.standing:
            if standing.method != payment.method:  # is stored, but pages need no entry for it
                payment.method = standing.method
                self.touch(payment)
            return None
        news = dict(booking or {})
        if (standing.card, standing.card_brand) != (payment.card, payment.card_brand):
            news |= {"card": standing.card, "card_brand": standing.card_brand}
        before = PaymentStatus(payment.status)
        payment.standing = standing
        payment.version += 1
        change = StatusChange(
            payment=payment,
            version=payment.version,
            from_status=before,
            to_status=standing.status,
            standing=vars(standing) | {"amounts": dict(vars(standing.amounts))},  # asdict takes 20 times as long
            booking=news,
            source=cause.source,
            stripe_event_id=cause.stripe_event_id,
            actor=cause.actor,  # type: ignore[misc]
            occurred_at=cause.occurred_at,
        )
        self.touch(payment)
        self._changes.append((change, cause))
        return change

    def write(
        self,
        *more: Statement,
        columns: Sequence[str] = (),
        reload: Iterable[str] = (),
        on_commit: Callable[[], object] | None = None,
    ) -> None:
        """Store everything, with the statements `more`, and commit unless this is a part of a larger transaction.

        `columns` are other columns of the payments that have changed; `reload` are audiences whose pages load again.
        After the commit, open pages get their entries first; then `on_commit` is called, and then signals about each
        change are sent.
        """
        changes = [change for change, _cause in self._changes]
        payments = update(self._payments.values(), (*MOVED, *columns))
        statements = [*self.rows.writes(), payments, insert(changes), *more]
        prepare = partial(changes_sent.send_robust, StatusChange, changes=changes)
        entries = Feed.objects.append(changes, first=statements, reload=reload, meanwhile=prepare)
        # COMMIT was sent with the writes. Django calls these functions, in this order, when its `atomic` block ends.
        if entries:
            transaction.on_commit(partial(entries_committed.send_robust, Feed, entries=entries), robust=True)
        if on_commit:
            transaction.on_commit(on_commit, robust=True)
        own: defaultdict[int, list[FeedEntry]] = defaultdict(list)
        for entry in entries:
            own[id(entry.change)].append(entry)
        for change, cause in self._changes:
            transaction.on_commit(partial(_announce, change, own[id(change)], cause), robust=True)


def _requester(facts: Sequence[StripeFact], rows: Sequence[Fact]) -> AbstractUser | None:
    """Return the user who requested the refund or charge that Stripe reports in `facts`, or None if no user did.

    Return None also if it failed or was cancelled, because the requester didn't cause that. Facts are states of
    Stripe objects. `facts` are the newly recorded ones; `rows` are all facts of the payment.
    """
    requests = {fact.details.get("request") for fact in facts if fact.status not in ("failed", "canceled")}
    return next((row.actor for row in rows if row.stripe_id in requests), None)


def _announce(change: StatusChange, entries: list[FeedEntry], cause: Cause) -> None:
    """Send the signals and write the log line of a change that has been committed."""
    payment = change.payment
    arguments = {"payment": payment, "change": change, "entries": entries}
    fields = {"payment_id": str(payment.public_id), "status": change.to_status, "source": change.source}
    with logs.request(cause.request_id):  # because one transaction may hold the events of several requests
        payment_status_changed.send_robust(Payment, **arguments)
        if change.moved and change.to_status == PaymentStatus.PAID:
            payment_confirmed.send_robust(Payment, **arguments)
        logger.info("payment_status_changed", extra=fields | {"stripe_event_id": change.stripe_event_id})
