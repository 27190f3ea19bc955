"""Reads the final objects of Stripe and of the desk a second time, to check what the site derives.

The site merges what it hears in any order. This reading sees each object once, in its last state, as a plain dictionary
with Stripe's field names. It is written in another way than the site, and uses none of the site's code.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

Object = dict[str, Any]

WITH_THE_BANK = ("needs_response", "under_review")  # an open dispute: the bank has the money
ASKED_BY_THE_BANK = "warning_needs_response"
BACK_OR_GOING_BACK = ("pending", "requires_action", "succeeded")


class Terms(Protocol):
    """What the clinic asks for, in minor units of `currency`."""

    @property
    def price(self) -> int: ...
    @property
    def currency(self) -> str: ...
    @property
    def canceled(self) -> bool: ...
    @property
    def slot_lost(self) -> bool: ...
    @property
    def fee(self) -> int: ...
    @property
    def deposit(self) -> int: ...
    @property
    def earlier_prices(self) -> frozenset[int]: ...


@dataclass
class Books:
    """All objects of one payment, each in its last state.

    Two fields aren't Stripe's: "ended_at" is when the site first saw that a refund failed or was canceled, and
    "seen_at" when it last saw a charge.
    """

    sessions: list[Object] = field(default_factory=list)
    intents: list[Object] = field(default_factory=list)
    charges: list[Object] = field(default_factory=list)
    refunds: list[Object] = field(default_factory=list)
    disputes: list[Object] = field(default_factory=list)
    # id, payment_intent, amount, waives, created, withdrawn, and failed_at if Stripe refused it when nobody waited
    requests: list[Object] = field(default_factory=list)
    till: list[Object] = field(
        default_factory=list
    )  # id, kind (taken, given, reversal), amount, waives, entry, created
    decisions: list[Object] = field(default_factory=list)  # kind (asked_again, written_off), disputes, amount, created
    approvals: list[Object] = field(default_factory=list)  # open (whether the refund still waits for approval)
    overdue: set[str] = field(default_factory=set)  # ids of sessions whose debit was found to be overdue


@dataclass
class Reading:
    """Where the payment stands. Amounts are in minor units of its currency."""

    status: str
    due: int
    received: int
    refunded: int
    refund_pending: int
    lost: int
    waived: int
    on_its_way: int
    owed: int
    payable: bool
    reviews: set[str]
    answer_by: int | None  # when a dispute or a bank's question has to be answered at the latest, in Unix seconds


@dataclass
class Purse:
    """One piece of money: what one Checkout Session, or one entry at the till, brought and what of it went back."""

    currency: str
    created: int
    got: int = 0
    back: int = 0
    going_back: int = 0
    lost: int = 0
    waiting: int = 0  # with a bank, and not here yet
    stage: str = "paid"
    asked: int = 0
    from_till: bool = False
    session: str = ""

    @property
    def left(self) -> int:
        return max(0, self.got - self.back - self.lost)


def read(books: Books, terms: Terms) -> Reading:
    """Return where the payment stands."""
    stripe = [purse_of(session, books) for session in books.sessions]
    till = [
        Purse(terms.currency, line["created"], line["amount"], from_till=True, asked=line["amount"])
        for line in standing(books, "taken")
    ]
    ours = [purse for purse in stripe + till if purse.currency == terms.currency]
    free = any(purse.stage == "free" for purse in stripe)
    due = 0 if free else terms.fee if terms.canceled else terms.price

    received = sum(purse.got for purse in ours)
    refunded = sum(purse.back for purse in ours) + sum(line["amount"] for line in standing(books, "given"))
    pending = sum(purse.going_back for purse in ours)
    lost = sum(purse.lost for purse in ours)
    net = received - refunded - lost
    on_its_way = sum(purse.waiting for purse in ours)
    waived = no_longer_asked(books, terms, due)
    owed = max(0, due - waived - net - on_its_way)

    money = Money(due, net, received, refunded, pending, lost, on_its_way, max(0, due - waived - net), owed)
    reviews = set(reviews_of(books, terms, money, stripe + till))
    return Reading(
        status=status_of(books, terms, money, stripe),
        due=due,
        received=received,
        refunded=refunded,
        refund_pending=pending,
        lost=lost,
        waived=waived,
        on_its_way=on_its_way,
        owed=owed,
        payable=bool(
            owed
            and not any(purse.waiting for purse in stripe)
            and not any(dispute["status"] in WITH_THE_BANK for dispute in books.disputes)
            and not undecided(books, terms)
            and not any(purse.left and purse.currency != terms.currency for purse in stripe)
        ),
        reviews=reviews,
        answer_by=min(answers_due(books, terms), default=None),
    )


@dataclass
class Money:
    due: int
    net: int
    received: int
    refunded: int
    pending: int
    lost: int
    on_its_way: int
    missing: int
    owed: int

    @property
    def too_much(self) -> int:
        return max(0, self.net - self.due)


# Stripe's side


def of_intent(objects: Iterable[Object], intent: str | None) -> list[Object]:
    return [obj for obj in objects if intent and obj["payment_intent"] == intent]


def purse_of(session: Object, books: Books) -> Purse:
    """Return what one Checkout Session brought and what of it went back."""
    name = session["payment_intent"]
    intent = next((obj for obj in books.intents if obj["id"] == name), None)
    got = sum(charge["amount_captured"] for charge in of_intent(books.charges, name) if charge["status"] == "succeeded")
    refunds, charges = of_intent(books.refunds, name), of_intent(books.charges, name)
    shown = sum(refund["amount"] for refund in refunds if refund["status"] in BACK_OR_GOING_BACK)
    unseen = max(0, sum(charge["amount_refunded"] for charge in charges) - shown)
    lost = sum(
        dispute["amount"]
        for dispute in of_intent(books.disputes, name)
        if dispute["status"] == "lost" and dispute["currency"] == session["currency"]
    )
    stage = stage_of(session, intent, got)
    return Purse(
        session["currency"],
        session["created"],
        got=got,
        back=sum(refund["amount"] for refund in refunds if refund["status"] == "succeeded") + unseen,
        going_back=sum(refund["amount"] for refund in refunds if refund["status"] in ("pending", "requires_action"))
        + sum(request["amount"] for request in unanswered(books, name)),
        lost=min(lost, got),
        waiting=session["amount_total"] if stage == "processing" else 0,
        stage=stage,
        asked=session["amount_total"],
        session=session["id"],
    )


def stage_of(session: Object, intent: Object | None, got: int) -> str:
    """Return how far a session has come, in one word."""
    if got:
        return "paid"
    if session["status"] != "complete":
        return str(session["status"])  # open or expired
    if session["payment_status"] == "no_payment_required":
        return "free"
    assert intent is not None
    # An authorized amount is on its way: the clinic only has to capture it.
    stages = {"processing": "processing", "requires_capture": "processing", "requires_action": "instructions"}
    return stages.get(intent["status"], "failed")


def unanswered(books: Books, intent: str | None) -> list[Object]:
    """Return the refunds that the site asked for, and of which it knows no refund at Stripe yet."""
    answered = {refund["metadata"].get("refund_request") for refund in books.refunds}
    return [
        request
        for request in of_intent(books.requests, intent)
        if request["id"] not in answered and not request["withdrawn"]
    ]


def undecided(books: Books, terms: Terms) -> list[Object]:
    """Return the disputes that cost the clinic money it asks for, and about which the staff haven't decided."""
    decided = {name for decision in books.decisions for name in decision["disputes"]}
    return [
        dispute
        for dispute in books.disputes
        if dispute["status"] == "lost" and dispute["id"] not in decided and in_currency(dispute, books, terms)
    ]


def answers_due(books: Books, terms: Terms) -> list[int]:
    """Return by when each dispute and each question of a bank that waits for an answer has to be answered."""
    return [
        dispute["evidence_details"]["due_by"]
        for dispute in books.disputes
        if dispute["status"] in ("needs_response", ASKED_BY_THE_BANK)
        and currency_paid(dispute, books) == terms.currency
    ]


def in_currency(dispute: Object, books: Books, terms: Terms) -> bool:
    """Return whether the dispute, and the payment that it is about, are in the payment's currency."""
    return bool(dispute["currency"] == terms.currency == currency_paid(dispute, books))


def currency_paid(dispute: Object, books: Books) -> str:
    return next(str(obj["currency"]) for obj in books.intents if obj["id"] == dispute["payment_intent"])


# The desk's side


def standing(books: Books, kind: str) -> list[Object]:
    """Return the till's entries of one kind that nobody declared a mistake."""
    mistakes = {line["entry"] for line in books.till if line["kind"] == "reversal"}
    return [line for line in books.till if line["kind"] == kind and line["id"] not in mistakes]


def no_longer_asked(books: Books, terms: Terms, due: int) -> int:
    """Return what the clinic gave back or wrote off on purpose, since it last asked for everything.

    Writes the account from the first day on. What goes back can only be waived as far as it is then missing: giving
    back what was paid too much waives nothing.
    """
    balance = waived = 0
    for _, _, amount, waives in sorted(account(books, terms)):
        if waives is None:  # the clinic asks for everything again
            waived = 0
            continue
        balance += amount
        waived += max(0, min(waives, due - waived - balance))
    return waived


def account(books: Books, terms: Terms) -> Iterator[tuple[int, int, int, int | None]]:
    """Yield (time, order within a second, what comes in or goes out, what of it is waived; None: asks again)."""
    ours = {session["payment_intent"] for session in books.sessions if session["currency"] == terms.currency}
    for session in books.sessions:
        purse = purse_of(session, books)
        if session["payment_intent"] not in ours or not purse.got:
            continue
        charges = [c for c in of_intent(books.charges, session["payment_intent"]) if c["status"] == "succeeded"]
        yield charges[0]["created"], 0, purse.got, 0
        for refund in of_intent(books.refunds, session["payment_intent"]):
            if refund["status"] in BACK_OR_GOING_BACK:
                yield asked_at(refund, books), 1, -refund["amount"], waived_by(refund, books)
        for request in unanswered(books, session["payment_intent"]):
            yield request["created"], 1, -request["amount"], request["waives"]
        shown = sum(
            refund["amount"]
            for refund in of_intent(books.refunds, session["payment_intent"])
            if refund["status"] in BACK_OR_GOING_BACK
        )
        unseen = max(0, sum(charge["amount_refunded"] for charge in charges) - shown)
        yield max(charge["seen_at"] for charge in charges), 1, -unseen, unseen
        disputes = of_intent(books.disputes, session["payment_intent"])
        gone = [d for d in disputes if d["status"] == "lost" and d["currency"] == session["currency"]]
        if gone:
            yield min(dispute["created"] for dispute in gone), 2, -purse.lost, 0
    for line in standing(books, "taken"):
        yield line["created"], 0, line["amount"], 0
    for line in standing(books, "given"):
        yield line["created"], 1, -line["amount"], line["waives"]
    for decision in books.decisions:
        yield decision["created"], 3, 0, None if decision["kind"] == "asked_again" else decision["amount"]


def request_of(refund: Object, books: Books) -> Object | None:
    asked = refund["metadata"].get("refund_request")
    return next((request for request in books.requests if request["id"] == asked), None)


def asked_at(refund: Object, books: Books) -> int:
    """Return when the refund was asked for: at Stripe, or before by the site, whose request Stripe may get late."""
    request = request_of(refund, books)
    return int(request["created"] if request else refund["created"])


def waived_by(refund: Object, books: Books) -> int:
    request = request_of(refund, books)
    return int(request["waives"] if request else refund["amount"])


# What it comes to


def status_of(books: Books, terms: Terms, money: Money, purses: list[Purse]) -> str:  # noqa: PLR0911 a row each
    """Return the status: what a person at the desk has to know first."""
    if any(d["status"] in WITH_THE_BANK and currency_paid(d, books) == terms.currency for d in books.disputes):
        return "disputed"
    if money.lost and money.net <= 0 and (undecided(books, terms) or not money.missing):
        return "charged_back"
    if money.pending:
        return "refund_pending"
    if money.missing and money.on_its_way:
        return "processing"
    if money.net > 0 and money.owed:
        return "underpaid"
    if money.owed:
        return nothing_here(purses)
    if money.refunded and money.net <= 0:
        return "refunded"
    if money.refunded and money.net < terms.price:
        return "partially_refunded"
    if money.net > 0 or any(purse.stage == "free" for purse in purses):
        return "paid"
    return "processing" if money.on_its_way else "void"


def nothing_here(purses: list[Purse]) -> str:
    """Return how the attempts to pay stand, when they brought nothing and everything is to be paid."""
    if any(purse.stage in ("open", "instructions") for purse in purses):
        return "checkout_open"
    over = [purse for purse in sorted(purses, key=lambda purse: purse.created) if purse.stage in ("failed", "expired")]
    return over[-1].stage if over else "unpaid"


def reviews_of(books: Books, terms: Terms, money: Money, purses: list[Purse]) -> Iterator[str]:
    """Yield why a person has to look at the payment."""
    yield from price_reviews(books, terms, money, purses)
    if any_other_currency(books, terms, purses):
        yield "currency_mismatch"
    yield from (f"refund_{ending}" for ending in ("failed", "canceled") if not_made_up_for(books, money, ending))
    if any(approval["open"] for approval in books.approvals):
        yield "refund_approval"
    if any(purse.waiting and purse.session in books.overdue for purse in purses):
        yield "stuck"
    ours = [dispute for dispute in books.disputes if currency_paid(dispute, books) == terms.currency]
    if any(dispute["status"] == "needs_response" for dispute in ours):
        yield "dispute_deadline"
    if any(dispute["status"] == ASKED_BY_THE_BANK for dispute in ours):
        yield "inquiry"
    if money.missing and undecided(books, terms):
        yield "taken_back"


def price_reviews(books: Books, terms: Terms, money: Money, purses: list[Purse]) -> Iterator[str]:
    """Yield what is wrong with the sum: too much, too little, or right for an earlier price."""
    if terms.canceled:
        if money.too_much:
            yield "slot_lost" if terms.slot_lost else "paid_after_cancel"
        return
    decided = {name for decision in books.decisions for name in decision["disputes"]}
    if money.too_much and any(
        d["status"] == "won" and d["id"] in decided and currency_paid(d, books) == terms.currency
        for d in books.disputes
    ):
        yield "reinstated"
        return
    pieces = [purse for purse in purses if purse.left and purse.currency == terms.currency]
    sum_of_an_earlier_price = sum(piece.left for piece in pieces) in terms.earlier_prices
    at_an_earlier_price = sum_of_an_earlier_price or any(piece.got in terms.earlier_prices for piece in pieces)
    if money.too_much:
        if len(pieces) > 1 and not sum_of_an_earlier_price:
            yield "double_payment"
        else:
            yield "price_changed" if at_an_earlier_price else "amount_mismatch"
    elif status_of(books, terms, money, purses) == "underpaid":
        if at_an_earlier_price:
            yield "price_changed"
        elif money.received < money.due and not all(in_order(piece, terms) for piece in pieces):
            yield "amount_mismatch"


def in_order(piece: Purse, terms: Terms) -> bool:
    """Return whether the clinic meant to get only a part: at the till, or as a deposit through Checkout."""
    return piece.from_till or bool(terms.deposit and piece.got == piece.asked)


def any_other_currency(books: Books, terms: Terms, purses: list[Purse]) -> bool:
    """Return whether there is money, or a dispute that a person has to settle, in another currency."""
    decided = {name for decision in books.decisions for name in decision["disputes"]}
    open_ones = [d for d in books.disputes if d["status"] in (*WITH_THE_BANK, "lost") and d["id"] not in decided]
    foreign = [purse for purse in purses if purse.currency != terms.currency]
    return (
        any(purse.left or purse.waiting for purse in foreign)
        or any(dispute["currency"] != currency_paid(dispute, books) for dispute in open_ones)
        or any(dispute["status"] == "lost" and currency_paid(dispute, books) != terms.currency for dispute in open_ones)
    )


def not_made_up_for(books: Books, money: Money, ending: str) -> bool:
    """Return whether a refund failed (or was canceled) and no other was made since, while there is money to give."""
    made = [refund["created"] for refund in books.refunds if refund["status"] in BACK_OR_GOING_BACK]
    made += [
        request["created"] for request in books.requests if request in unanswered(books, request["payment_intent"])
    ]
    made += [line["created"] for line in standing(books, "given")]
    ended = [refund["ended_at"] for refund in books.refunds if refund["status"] == ending]
    ended += [request["failed_at"] for request in books.requests if ending == "failed" and "failed_at" in request]
    return money.net > money.pending and any(all(at < end for at in made) for end in ended)
