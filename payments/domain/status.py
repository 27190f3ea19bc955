"""Derives a payment's status from its facts, which are states of Stripe objects and payments at the desk.

`derive` is a pure function: it reads no models, clock or files. `_status` holds all rules: the first one whose
condition holds gives the status. `reviews` says separately why a person must look at the payment; these reasons don't
change the status.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from django.db.models import TextChoices
from django.utils.functional import cached_property
from django.utils.translation import gettext_lazy as _

from .attempts import DISPUTE_OPEN, INQUIRY, Attempt, AttemptState, attempts_of
from .cards import Card, CardState, card_of
from .facts import Kind, StripeFact
from .movements import Movement, MovementKind, movements_of


class PaymentStatus(TextChoices):
    UNPAID = "unpaid", _("To pay")
    CHECKOUT_OPEN = "checkout_open", _("Payment started")
    PROCESSING = "processing", _("Processing")
    PAID = "paid", _("Paid")
    UNDERPAID = "underpaid", _("Partly paid")
    FAILED = "failed", _("Payment failed")
    EXPIRED = "expired", _("Payment expired")
    VOID = "void", _("Nothing to pay")
    REFUND_PENDING = "refund_pending", _("Refund on its way")
    PARTIALLY_REFUNDED = "partially_refunded", _("Partly refunded")
    REFUNDED = "refunded", _("Refunded")
    DISPUTED = "disputed", _("Disputed")
    CHARGED_BACK = "charged_back", _("Taken back by the bank")


class Review(TextChoices):
    AMOUNT_MISMATCH = "amount_mismatch", _("Amount differs from the price")
    CURRENCY_MISMATCH = "currency_mismatch", _("Paid in another currency")
    DOUBLE_PAYMENT = "double_payment", _("Paid twice")
    PAID_AFTER_CANCEL = "paid_after_cancel", _("Paid, but cancelled")
    SLOT_LOST = "slot_lost", _("Paid, but the slot was given away")
    PRICE_CHANGED = "price_changed", _("Paid at an earlier price")
    REFUND_FAILED = "refund_failed", _("Refund failed")
    REFUND_CANCELED = "refund_canceled", _("Refund cancelled")
    REFUND_APPROVAL = "refund_approval", _("Refund to approve")
    STUCK = "stuck", _("Direct debit overdue")
    DISPUTE_DEADLINE = "dispute_deadline", _("Dispute to answer")
    INQUIRY = "inquiry", _("Bank’s question to answer")
    TAKEN_BACK = "taken_back", _("Taken back by the bank")
    REINSTATED = "reinstated", _("Returned by the bank, and paid again")


@dataclass(frozen=True, slots=True)
class Terms:
    """What the clinic asks for an appointment, as `derive` needs it. Amounts are in minor units of `currency`.

    `fee` is what the clinic keeps after a cancellation, and `deposit` is the part of the price that it asks for first.
    `slot_lost` is whether the appointment was canceled and another patient has its time. `no_show_fee` is what the
    clinic asks for instead of the price if the patient doesn't come (`no_show`) and has agreed to such a fee.
    """

    price: int
    currency: str
    canceled: bool = False
    slot_lost: bool = False
    fee: int = 0
    deposit: int = 0
    earlier_prices: frozenset[int] = frozenset()
    no_show: bool = False
    no_show_fee: int = 0

    @property
    def due(self) -> int:
        """Return what the clinic asks for: the price or, after a cancellation, the fee."""
        return self.fee if self.canceled else self.price


@dataclass(frozen=True)
class Amounts:
    """A payment's sums, in minor units of its currency.

    `waived` is what the clinic gave back or wrote off on purpose and no longer asks for. `lost` is what banks took back
    after disputes. `on_its_way` is what a bank is still working on, such as a direct debit.
    """

    due: int
    received: int
    refunded: int
    refund_pending: int
    lost: int
    waived: int
    on_its_way: int

    @property
    def net(self) -> int:
        """Return what the clinic has. It is below zero if both a refund and a lost dispute took back the same money."""
        return self.received - self.refunded - self.lost

    @property
    def missing(self) -> int:
        """Return how much less the clinic has than it asks for; money on its way counts as missing."""
        return max(0, self.due - self.waived - self.net)

    @property
    def owed(self) -> int:
        """Return what the patient still has to pay."""
        return max(0, self.missing - self.on_its_way)

    @property
    def overpaid(self) -> int:
        return max(0, self.net - self.due)


@dataclass(frozen=True, kw_only=True)
class Standing:
    """Everything that `derive` finds out about a payment: its status, its sums and what a person has to look at.

    `payable` is whether the patient may pay what is owed online. `method` is a desk `Method` or Stripe's payment method
    type. `dispute_due_by` is when a dispute or a bank's question has to be answered at the latest, in Unix seconds.
    `card` is a `CardState`, and `card_limit` is how much the patient agreed may still be charged to a kept card.
    """

    status: PaymentStatus
    amounts: Amounts
    payable: bool
    attempt: str  # how the attempt stands, as `_attempt_label` says, or ""
    failure_code: str  # Stripe's decline or error code of the last failed attempt
    method: str
    dispute_due_by: int | None
    reviews: tuple[Review, ...]
    card: str
    card_brand: str
    card_limit: int


DUE_AFTER = (AttemptState.FAILED, AttemptState.EXPIRED)
STILL_OPEN = (AttemptState.OPEN, AttemptState.REQUIRES_ACTION, AttemptState.INSTRUCTIONS)
DECISIONS = ("asked_again", "written_off")  # what staff decide about money that is missing


def derive(facts: Iterable[StripeFact], terms: Terms) -> Standing:
    """Return the standing of a payment with these facts and terms. The order of the facts doesn't matter."""
    case = Case.of(facts, terms)
    amounts = _amounts(case)
    status = _status(case, amounts)
    last = next((attempt for attempt in reversed(case.attempts) if attempt.state != AttemptState.IDLE), None)
    due_by = [fact.details.get("due_by") for fact in case.disputes("needs_response", INQUIRY)]
    return Standing(
        status=status,
        amounts=amounts,
        payable=_payable(case, amounts),
        attempt=_attempt_label(case.attempts, amounts),
        failure_code=last.failure_code if last and amounts.owed and last.state in (*STILL_OPEN, *DUE_AFTER) else "",
        method=case.counted[-1].method if case.counted else "",
        dispute_due_by=min(filter(None, due_by), default=None),
        reviews=_reviews(case, amounts, status),
        card=case.card.state.value,
        card_brand=case.card.brand,
        card_limit=_card_limit(case),
    )


def undecided_disputes(facts: Iterable[StripeFact], terms: Terms) -> list[StripeFact]:
    """Return the lost disputes about which staff haven't decided yet whether to ask the patient again."""
    return Case.of(facts, terms).undecided


@dataclass(frozen=True)
class Case:
    """The terms and facts of one payment, grouped for `derive`.

    `counted` are the attempts to pay that brought money in the payment's currency.
    """

    terms: Terms
    attempts: list[Attempt]
    counted: list[Attempt]
    observations: list[StripeFact]
    card: Card

    @classmethod
    def of(cls, facts: Iterable[StripeFact], terms: Terms) -> "Case":
        facts = list(facts)
        attempts = attempts_of(facts)
        counted = [attempt for attempt in attempts if attempt.received and attempt.currency == terms.currency]
        observations = [fact for fact in facts if fact.kind == Kind.OBSERVATION]
        return cls(terms, attempts, counted, observations, card_of(facts))

    @property
    def agreed(self) -> int:
        """Return the highest fee that the patient agreed to, in minor units of the payment's currency."""
        agreement = self.card.agreement
        return agreement.amount if agreement and agreement.currency == self.terms.currency else 0

    @property
    def due(self) -> int:
        """Return what the clinic asks for: the terms' sum or, after a no-show, the fee that the patient agreed to."""
        if self.terms.no_show and self.terms.no_show_fee and self.agreed:
            return min(self.terms.no_show_fee, self.agreed)
        return self.terms.due

    def disputes(self, *states: str) -> list[StripeFact]:
        """Return the disputes that are in one of `states` and about a counted attempt.

        An attempt to pay is counted if it brought money in the payment's currency.
        """
        return [fact for attempt in self.counted for fact in attempt.of(Kind.DISPUTE, *states)]

    def observed(self, *states: str) -> list[StripeFact]:
        return [fact for fact in self.observations if fact.status in states]

    @cached_property
    def decided(self) -> set[str]:
        """Return the ids of the lost disputes about which staff have decided whether to ask the patient again."""
        return {dispute for fact in self.observed(*DECISIONS) for dispute in fact.details.get("disputes", ())}

    @cached_property
    def undecided(self) -> list[StripeFact]:
        """Return the lost disputes about which nobody has decided yet."""
        lost = [fact for attempt in self.counted for fact in attempt.lost_disputes]
        return [fact for fact in lost if fact.stripe_id not in self.decided]

    @cached_property
    def desk_refunds(self) -> list[StripeFact]:
        """Return what was given back at the desk in the payment's currency, without entries that were a mistake."""
        facts = [fact for attempt in self.attempts if attempt.desk_refunded for fact in attempt.of(Kind.DESK_REFUND)]
        return [fact for fact in facts if fact.currency == self.terms.currency]


def _amounts(case: Case) -> Amounts:
    """Sum up the payment's movements, so that the sums agree with each list of movements that people see."""
    sums = dict.fromkeys(MovementKind, 0)
    for attempt in case.attempts:
        for line in movements_of(attempt):
            if line.currency == case.terms.currency:
                sums[_counts_as(line)] += line.amount
    due = 0 if any(attempt.state == AttemptState.FREE for attempt in case.attempts) else case.due
    return Amounts(
        due=due,
        received=sums[MovementKind.PAYMENT],
        refunded=-sums[MovementKind.REFUND] - sums[MovementKind.DESK_REFUND],
        refund_pending=sum(attempt.refund_pending for attempt in case.counted),
        lost=-sums[MovementKind.TAKEN_BACK] - sums[MovementKind.REINSTATED],
        waived=_waived(case, due),
        on_its_way=sum(attempt.on_its_way for attempt in case.attempts if attempt.currency == case.terms.currency),
    )


def _counts_as(line: Movement) -> MovementKind:
    """Return as which kind of movement `line` is summed up. A reversal counts as the kind of the entry it undoes."""
    if line.kind != MovementKind.REVERSAL:
        return line.kind
    return MovementKind.PAYMENT if line.amount < 0 else MovementKind.DESK_REFUND


def _waived(case: Case, due: int) -> int:
    """Return what the clinic gave back or wrote off since it last asked for the whole amount, in minor units.

    A refund waives its amount while it is pending or succeeded, unless its request says that it is still owed. But
    nothing can be waived that isn't missing: giving back what was paid beyond `due` waives nothing, so that the
    patient owes it if a bank takes back the rest.
    """
    asked_again = max((fact.created for fact in case.observed("asked_again")), default=0)
    waived = net = 0
    for at, _order, amount, waives in sorted(_account(case)):
        net += amount
        if at > asked_again:
            waived += max(0, min(waives, due - waived - net))
    return waived


def _account(case: Case) -> Iterator[tuple[int, int, int, int]]:
    """Yield (Unix time, order, amount, waived) of each payment, refund (also pending), loss and write-off.

    `order` is how entries of one second follow each other: payments, refunds, losses, write-offs. Sorting the entries
    puts the greater of two refunds of one second first.
    """
    for attempt in case.counted:
        yield from ((fact.date, 0, fact.amount, 0) for fact in attempt.evidence)
        for fact in attempt.succeeded_refunds + attempt.pending_refunds:
            yield attempt.requested_at(fact), 1, -fact.amount, attempt.waives(fact)
        if unlisted := attempt.unlisted_refund:
            yield max(fact.as_of for fact in attempt.of(Kind.CHARGE)), 1, -unlisted, unlisted
        if attempt.lost_disputes:
            yield min(fact.date for fact in attempt.lost_disputes), 2, -attempt.lost, 0
    for fact in case.desk_refunds:
        yield fact.created, 1, -fact.amount, int(fact.details.get("waives", fact.amount))
    for fact in case.observed("written_off"):
        yield fact.created, 3, 0, fact.amount


def _card_limit(case: Case) -> int:
    """Return how much the patient agreed may still be charged to the kept card; 0 if no card is kept.

    What was charged to it counts even if it was refunded.
    """
    charged = sum(attempt.received + attempt.on_its_way for attempt in case.attempts if attempt.request)
    return max(0, case.agreed - charged) if case.card.state == CardState.KEPT else 0


def _payable(case: Case, amounts: Amounts) -> bool:
    """Return whether the patient may pay online: something is owed, nothing is on its way, and no question is open.

    Open questions are an open dispute, a decision that staff must make about money that a bank took back, and money
    that the clinic holds in another currency.
    """
    foreign = any(attempt.kept and attempt.currency != case.terms.currency for attempt in case.attempts)
    busy = any(attempt.on_its_way or attempt.disputed for attempt in case.attempts)
    return bool(amounts.owed) and not (busy or case.undecided or foreign)


def _status(case: Case, amounts: Amounts) -> PaymentStatus:
    net, owed = amounts.net, amounts.owed
    states = [attempt.state for attempt in case.attempts]
    ended = [state for state in states if state in DUE_AFTER]
    started = any(state in STILL_OPEN for state in states)
    still_lost = amounts.lost and (case.undecided or not amounts.missing)
    rows = (
        (any(attempt.disputed for attempt in case.counted), PaymentStatus.DISPUTED),
        (still_lost and net <= 0, PaymentStatus.CHARGED_BACK),
        (amounts.refund_pending, PaymentStatus.REFUND_PENDING),
        (amounts.on_its_way and amounts.missing, PaymentStatus.PROCESSING),
        (net > 0 and owed, PaymentStatus.UNDERPAID),
        (amounts.refunded and net <= 0 and not owed, PaymentStatus.REFUNDED),
        (amounts.refunded and net < case.terms.price and not owed, PaymentStatus.PARTIALLY_REFUNDED),
        (not owed and (net > 0 or AttemptState.FREE in states), PaymentStatus.PAID),
        (amounts.on_its_way, PaymentStatus.PROCESSING),
        (not owed, PaymentStatus.VOID),
        (started, PaymentStatus.CHECKOUT_OPEN),
        (ended[-1:] == [AttemptState.FAILED], PaymentStatus.FAILED),
        (ended[-1:] == [AttemptState.EXPIRED], PaymentStatus.EXPIRED),
    )
    return next((status for holds, status in rows if holds), PaymentStatus.UNPAID)


def _attempt_label(attempts: list[Attempt], amounts: Amounts) -> str:
    """Return how an attempt stands: "charging" or "fee_declined" of a kept card, else as an open payment page stands.

    That is "requires_action", "instructions", "failed" or "" if there is nothing to say.
    """
    if any(attempt.request and attempt.on_its_way for attempt in attempts):
        return "charging"
    if not amounts.owed:
        return ""
    if attempts and attempts[-1].request and attempts[-1].state == AttemptState.FAILED:
        return "fee_declined"
    still_open = [attempt for attempt in attempts if attempt.state in STILL_OPEN]
    for state in (AttemptState.REQUIRES_ACTION, AttemptState.INSTRUCTIONS):
        if any(attempt.state == state for attempt in still_open):
            return str(state)
    return "failed" if still_open and still_open[-1].failure_code else ""


def _reviews(case: Case, amounts: Amounts, status: PaymentStatus) -> tuple[Review, ...]:
    after_cancel = case.terms.canceled and amounts.overpaid > 0
    awaiting_approval, stuck = case.observed("awaiting_approval"), {fact.attempt for fact in case.observed("stuck")}
    reinstated = bool(amounts.overpaid) and any(fact.stripe_id in case.decided for fact in case.disputes("won"))
    found = {
        **_price_reviews(case, amounts, status, reinstated=reinstated),
        Review.CURRENCY_MISMATCH: _other_currency(case),
        Review.PAID_AFTER_CANCEL: after_cancel and not case.terms.slot_lost,
        Review.SLOT_LOST: after_cancel and case.terms.slot_lost,
        Review.REFUND_FAILED: _not_repeated(case, amounts, "failed"),
        Review.REFUND_CANCELED: _not_repeated(case, amounts, "canceled"),
        Review.REFUND_APPROVAL: bool(awaiting_approval),
        Review.STUCK: any(attempt.on_its_way and attempt.name in stuck for attempt in case.attempts),
        Review.DISPUTE_DEADLINE: bool(case.disputes("needs_response")),
        Review.INQUIRY: bool(case.disputes(INQUIRY)),
        Review.TAKEN_BACK: amounts.missing > 0 and bool(case.undecided),
        Review.REINSTATED: reinstated and not case.terms.canceled,
    }
    return tuple(review for review in Review if found[review])


def _price_reviews(case: Case, amounts: Amounts, status: PaymentStatus, *, reinstated: bool) -> dict[Review, bool]:
    """Return for each review about a wrong amount whether staff must make it, as what was received isn't what is due.

    No such review is needed for a canceled appointment.
    """
    kept = [attempt for attempt in case.counted if attempt.kept]
    earlier_sum = sum(attempt.kept for attempt in kept) in case.terms.earlier_prices
    earlier = earlier_sum or any(attempt.received in case.terms.earlier_prices for attempt in kept)
    short = status == PaymentStatus.UNDERPAID and not case.terms.canceled
    too_little = short and amounts.received < amounts.due
    unexplained = too_little and any(not _explained(attempt, case.terms) for attempt in kept)
    too_much = amounts.overpaid > 0 and not case.terms.canceled and not reinstated
    several = len(kept) > 1 and not earlier_sum
    return {
        Review.AMOUNT_MISMATCH: not earlier and (unexplained or (too_much and not several)),
        Review.DOUBLE_PAYMENT: too_much and several,
        Review.PRICE_CHANGED: earlier and (short or (too_much and not several)),
    }


def _explained(attempt: Attempt, terms: Terms) -> bool:
    """Return whether there is a good reason why the attempt brought only a part of the price.

    The reasons are that a part was taken at the desk or charged to a kept card, or that exactly a deposit was asked and
    paid.
    """
    asked = terms.deposit if attempt.asked is None else attempt.asked
    return bool(attempt.of(Kind.OFFLINE) or attempt.request or terms.deposit) and attempt.received == asked


def _other_currency(case: Case) -> bool:
    """Return whether a person must look at money or a dispute in another currency, because the sums leave it out."""
    for attempt in case.attempts:
        disputes = attempt.of(Kind.DISPUTE, *DISPUTE_OPEN, "lost")
        open_ones = [fact for fact in disputes if fact.stripe_id not in case.decided]
        if any(fact.currency != attempt.currency for fact in open_ones):
            return True
        money = attempt.kept or attempt.on_its_way or (attempt.lost and open_ones)
        if money and attempt.currency != case.terms.currency:
            return True
    return False


def _not_repeated(case: Case, amounts: Amounts, ending: str) -> bool:
    """Return whether a refund ended as `ending` ("failed" or "canceled") and the patient still lacks that money.

    Nothing is lacking if another refund was made after the first one ended, or if no money is left to refund.
    """
    refunds = [fact for attempt in case.attempts for fact in attempt.refunds]
    # A canceled request needs no review: Stripe refused it before the eyes of the person who made it.
    ended = [fact for fact in refunds if fact.status == ending and not (fact.is_request and ending == "canceled")]
    good = [fact for fact in refunds if fact.status not in ("failed", "canceled")] + case.desk_refunds
    left = amounts.net - amounts.refund_pending > 0
    return left and any(not any(other.date >= fact.reached for other in good) for fact in ended)
