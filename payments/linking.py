"""Finds the payments that facts (states of Stripe objects) belong to, and keeps facts until their payment is known."""

import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django.contrib.auth.models import AbstractUser
from django.db import connection

from appointments.models import Appointment

from .db.statements import Statement, insert, run, update
from .domain.facts import DESK_KINDS, Kind, StripeFact
from .domain.precedence import merge
from .models import EventReceipt, Fact, JournalLine, Payment
from .models.event import SETTLED
from .models.fact import COLUMNS
from .models.journal_line import line_of, moved_by

Outcome = EventReceipt.Outcome
FACT, PAYMENT, APPOINTMENT, RECEIPT, LINE = (
    model._meta.db_table for model in (Fact, Payment, Appointment, EventReceipt, JournalLine)
)

# Disputes, and refunds made in Stripe's Dashboard, lack our metadata. Until one is linked to a payment, it may be
# about one of ours.
MAY_BE_OURS = (Kind.REFUND, Kind.DISPUTE)

# All transactions lock in this order, so that they never wait for each other in a circle: Stripe ids sorted as text,
# payments and receipts by their keys, feeds by their audience (see models/feed.py). At READ COMMITTED each statement
# has a snapshot of its own, so FACTS and RECEIPTS see what was committed while PAYMENTS waited for its locks.
# For this transaction only: use indexes always, and wait no longer than this for a lock.
SETTINGS = """
SELECT set_config('enable_seqscan', 'off', true),
    set_config('lock_timeout', coalesce(nullif(%(lock_timeout)s, ''), current_setting('lock_timeout')), true)
"""
# Without these locks, two transactions that run at once, one with a refund and one with the refund's charge, could each
# miss the other's facts, and the refund would stay without a payment. On SQLite one transaction writes at a time.
LOCK_IDS = "SELECT pg_advisory_xact_lock(hashtextextended(id, 0)) FROM unnest(%(locks)s::text[]) AS id"
# Entries at the desk share the till's lock with each other, but not with a closing: an entry that waited for a closing
# to be sealed isn't in it. An entry takes this lock when it has locked its payment, and a closing locks no payments.
LOCK_TILL = "SELECT pg_advisory_xact_lock(hashtextextended('till', 0))"
SHARE_TILL = "SELECT pg_advisory_xact_lock_shared(hashtextextended('till', 0))"
# PostgreSQL keeps the plans of these statements, also those that it made while the tables were small. So all rows are
# found by `= ANY` of an array, for which it always uses an index; a join might come to read a whole table. UNION
# might too: it sorts to find duplicates, and a plan for an empty table then reads all rows in an index's order.
# FOR NO KEY UPDATE lets others insert rows that refer to a payment, such as the first look at a patient's file.
# The ids of the payments that the facts name, or that have a stored fact about one of the facts' Stripe objects:
MEANT = f"""
    SELECT id FROM {PAYMENT} WHERE public_id = ANY(%(named)s)
    UNION ALL SELECT payment_id FROM {FACT} WHERE stripe_id = ANY(%(ids)s)
    UNION ALL SELECT payment_id FROM {FACT} WHERE payment_intent_id = ANY(%(ids)s) AND payment_intent_id > ''
    UNION ALL SELECT payment_id FROM {FACT} WHERE charge_id = ANY(%(ids)s) AND charge_id > ''
"""
# The ids of the facts that have no payment yet, and may get one now:
WAITING = f"""
    SELECT id FROM {FACT} WHERE payment_id IS NULL AND claimed_payment = ANY(%(named)s)
    UNION ALL SELECT id FROM {FACT} WHERE payment_id IS NULL AND stripe_id = ANY(%(ids)s)
    UNION ALL SELECT id FROM {FACT}
    WHERE payment_id IS NULL AND payment_intent_id = ANY(%(ids)s) AND payment_intent_id > ''
    UNION ALL SELECT id FROM {FACT} WHERE payment_id IS NULL AND charge_id = ANY(%(ids)s) AND charge_id > ''
"""
PAYMENTS = f"SELECT {{columns}} FROM {PAYMENT} WHERE id = ANY(ARRAY({MEANT})) ORDER BY id FOR NO KEY UPDATE"
APPOINTMENTS = f"""
SELECT {{columns}} FROM {APPOINTMENT}
WHERE id = ANY(ARRAY(SELECT appointment_id FROM {PAYMENT} WHERE id = ANY(ARRAY({MEANT}))))
"""
FACTS = f"""
SELECT {{columns}} FROM {FACT} WHERE payment_id = ANY(ARRAY({MEANT}))
UNION ALL SELECT {{columns}} FROM {FACT} WHERE id = ANY(ARRAY({WAITING}))
"""
LINES = f"SELECT {{columns}} FROM {LINE} WHERE payment_id = ANY(ARRAY({MEANT}))"
FORGET_LINES = f"DELETE FROM {LINE} WHERE payment_id = ANY(%(payments)s)"
# The receipts of these events, and of the events that brought the waiting facts:
RECEIPTS = f"""
SELECT {{columns}} FROM {RECEIPT} WHERE id = ANY(ARRAY(
    SELECT id FROM {RECEIPT} WHERE stripe_event_id = ANY(%(events)s)
    UNION ALL SELECT id FROM {RECEIPT} WHERE outcome = '{Outcome.DEFERRED}' AND object_id > ''
    AND object_id = ANY(ARRAY(SELECT stripe_id FROM {FACT} WHERE id = ANY(ARRAY({WAITING}))))
)) ORDER BY id FOR UPDATE
"""


def _lock_and_read(
    facts: Sequence[StripeFact], payments: Iterable[uuid.UUID], events: Iterable[str], lock_timeout: str
) -> list[Any]:
    """Return lists of payments, appointments, facts, journal lines and receipts, read in one round trip."""
    params: dict[str, Any] = {
        "named": [*payments, *{uuid.UUID(fact.payment_id) for fact in facts if fact.payment_id}],
        "ids": _ids(facts),
        "events": list(events),
        # A refund request takes no locks on ids: its caller has locked the payment, and ids come before payments.
        "locks": _ids(fact for fact in facts if not fact.is_request),
        "lock_timeout": lock_timeout,
    }
    postgres = connection.vendor == "postgresql"
    *_, payment_rows, appointments, fact_rows, lines, receipts = run(
        Statement(SETTINGS, params, idle=not postgres),
        Statement(SHARE_TILL, idle=not (postgres and any(fact.kind in DESK_KINDS for fact in facts))),
        Statement(LOCK_IDS, params, idle=not (postgres and params["locks"])),
        Statement(PAYMENTS, params, Payment),
        Statement(APPOINTMENTS, params, Appointment),
        Statement(FACTS, params, Fact),
        Statement(LINES, params, JournalLine),
        Statement(RECEIPTS, params, EventReceipt),
    )
    return [payment_rows, appointments, fact_rows, lines, receipts]


class LockedRows:
    """The payments that some facts are about, locked, with their facts and the receipts of events, also locked.

    A fact is the state of one Stripe object. All of it is read in one round trip, then changed in memory, so that of
    several events each sees what the earlier ones changed. `writes` returns the statements that store the changes.
    """

    def __init__(
        self,
        facts: Iterable[StripeFact],
        *,
        payments: Iterable[uuid.UUID] = (),
        events: Iterable[str] = (),
        lock_timeout: str = "",
    ) -> None:
        """Lock and read the rows for `facts`, for payments with these public ids, and for events with these ids.

        `lock_timeout` is the longest wait for one lock, such as "200ms"; "" means the connection's own limit.
        """
        payment_rows, appointments, fact_rows, lines, receipts = _lock_and_read(
            list(facts), payments, events, lock_timeout
        )
        by_key = {appointment.pk: appointment for appointment in appointments}
        self.payments: dict[str, Payment] = {}
        self._facts: dict[int | None, dict[str, Fact]] = {None: {}}  # by payment, then by Stripe id; None: waiting
        self._linked: dict[str, Payment] = {}  # by the ids that a payment's facts contain
        self._receipts = {receipt.stripe_event_id: receipt for receipt in receipts}
        self._lines: dict[int, list[JournalLine]] = {}  # what the journal says about a payment, by the payment's key
        for line in sorted(lines, key=lambda line: line.number):
            self._lines.setdefault(line.payment_id, []).append(line)
        self._changed_facts: dict[str, Fact] = {}
        self._changed_receipts: dict[str, EventReceipt] = {}
        for payment in payment_rows:
            payment.attach(by_key[payment.appointment_id])
            self.payments[str(payment.public_id)] = payment
            self._facts[payment.pk] = {}
        keys = {payment.pk: payment for payment in payment_rows}
        for row in sorted(fact_rows, key=lambda row: (row.created, row.pk)):
            if row.payment_id in self._facts:  # a payment made meanwhile isn't locked, and isn't known yet
                self._facts[row.payment_id][row.stripe_id] = row
                self._link(row, keys.get(row.payment_id))

    def _link(self, row: Fact, payment: Payment | None) -> None:
        if payment:
            for each in row.ids:
                self._linked.setdefault(each, payment)

    def claim(self, event: Mapping[str, Any]) -> EventReceipt:
        """Count one delivery of the event, and return the event's receipt, a new one if the event is new."""
        receipt = self._receipts.get(event["id"])
        if receipt is None:
            receipt = self._receipts[event["id"]] = EventReceipt(
                stripe_event_id=event["id"],
                type=event["type"],
                livemode=event["livemode"],
                stripe_created=event["created"],
            )
        receipt.deliveries += 1
        self._changed_receipts[receipt.stripe_event_id] = receipt
        return receipt

    def find_payment(self, facts: Sequence[StripeFact]) -> Payment | None:
        """Return the payment that `facts` (states of Stripe objects) are about, or None if it isn't known.

        It is the payment that their metadata names or else one that has a fact about the same Stripe objects.
        """
        named = next((fact.payment_id for fact in facts if fact.payment_id), "")
        found = (self._linked.get(each) for fact in facts for each in fact.ids)
        return self.payments.get(named) or next(filter(None, found), None)

    def keep_waiting(self, facts: Sequence[StripeFact], actor: AbstractUser | None) -> Outcome:
        """Keep facts (states of Stripe objects) whose payment isn't known yet, and return the outcome DEFERRED.

        If the facts can't be about a payment of this site, drop them and return IGNORED_FOREIGN.
        """
        if not any(fact.payment_id or fact.kind in MAY_BE_OURS for fact in facts):
            return Outcome.IGNORED_FOREIGN
        for fact in facts:
            self._merge(fact, None, actor)
        return Outcome.DEFERRED

    def absorb(self, facts: Iterable[StripeFact], payment: Payment, actor: AbstractUser | None = None) -> list[Fact]:
        """Merge `facts` (states of Stripe objects) into the payment's stored facts; return all facts of the payment.

        Facts that waited and belong to the payment get it, and the receipts of the events that brought them get the
        outcome APPLIED.
        """
        facts = list(facts)
        ids, claim = set(_ids(facts)), str(payment.public_id)
        for row in list(self._facts[None].values()):
            if str(row.claimed_payment) == claim or not ids.isdisjoint(row.ids):
                self._adopt(row, payment)
        for fact in facts:
            self._merge(fact, payment, actor)
        return list(self._facts[payment.pk].values())

    def _adopt(self, row: Fact, payment: Payment) -> None:
        """Give the waiting fact `row` its payment, and settle the receipts of the events that brought it."""
        row.payment = payment
        self._facts[payment.pk][row.stripe_id] = self._changed_facts[row.stripe_id] = row
        del self._facts[None][row.stripe_id]
        self._link(row, payment)
        for receipt in self._receipts.values():
            if receipt.outcome == Outcome.DEFERRED and receipt.object_id == row.stripe_id:
                receipt.settle_as(Outcome.APPLIED, payment)
                self._changed_receipts[receipt.stripe_event_id] = receipt

    def _merge(self, fact: StripeFact, payment: Payment | None, actor: AbstractUser | None) -> None:
        """Merge `fact` (the state of one Stripe object) into the row about the same object, or add a row."""
        rows = self._facts[payment.pk if payment else None]
        row = rows.get(fact.stripe_id)
        if row is None:
            row = rows[fact.stripe_id] = Fact(payment=payment, actor=actor)  # type: ignore[misc]
            row.value = fact
        elif (merged := merge(row.value, fact)) != row.value:
            row.value = merged
        else:
            return
        self._changed_facts[row.stripe_id] = row
        self._link(row, payment)

    def writes(self) -> list[Statement]:
        """Return the statements that store the changed facts (states of Stripe objects), receipts and journal lines."""
        facts = list(self._changed_facts.values())
        receipts = [receipt for _, receipt in sorted(self._changed_receipts.items())]
        return [
            insert(row for row in facts if row.pk is None),
            update((row for row in facts if row.pk), ("payment", "claimed_payment", *COLUMNS)),
            update((receipt for receipt in receipts if receipt.pk), SETTLED),
            insert(receipt for receipt in receipts if receipt.pk is None),
            *self._journal(),
        ]

    def _journal(self) -> list[Statement]:
        """Return the statements that replace the journal's lines about payments whose movements of money are others.

        All lines of such a payment are replaced, because one fact more can change the proof, date and method of others.
        """
        outdated, lines = [], []
        for payment in self.payments.values():
            found, stored = moved_by(self._facts[payment.pk]), self._lines.get(payment.pk, [])
            if found != [(line.value, line.actor_id) for line in stored]:
                outdated += [payment.pk] if stored else []
                lines += [line_of(payment, number, *moved) for number, moved in enumerate(found)]
        return [Statement(FORGET_LINES, {"payments": outdated}, idle=not outdated), insert(lines)]


def lock_till() -> None:
    """Wait until nobody is recording an entry at the desk, and let nobody begin until this transaction ends.

    On SQLite one transaction writes at a time.
    """
    if connection.vendor == "postgresql":
        run(Statement(LOCK_TILL))


def _ids(facts: Iterable[StripeFact]) -> list[str]:
    """Return all ids in these facts (states of Stripe objects), sorted."""
    return sorted({each for fact in facts for each in fact.ids})
