"""Read final objects of Stripe and of the desk a second time, without the site's code, to check what the site derives.

The site folds facts in the order of their arrival. This reading sees each object once, in its final state, as plain
dictionaries with Stripe's field names, and applies the rules of money one after another.
"""

from dataclasses import dataclass, field
from typing import Any, Protocol

type Object = dict[str, Any]

MOVED_BY_DISPUTE = {"needs_response", "under_review"}
INQUIRY = {"warning_needs_response", "warning_under_review"}


class Terms(Protocol):
    """What the clinic asks for, in minor units of `currency`."""

    price: int
    currency: str
    canceled: bool
    slot_lost: bool
    fee: int
    deposit: int
    earlier_prices: Any


@dataclass
class Books:
    """All objects of one payment, each in its final state."""

    sessions: list[Object] = field(default_factory=list)
    intents: list[Object] = field(default_factory=list)
    charges: list[Object] = field(default_factory=list)
    refunds: list[Object] = field(default_factory=list)
    disputes: list[Object] = field(default_factory=list)
    #: Refunds that the site asked for and whose answer never came: {"key", "payment_intent", "amount", "waives", "at"}.
    requests: list[Object] = field(default_factory=list)
    #: Lines of the till: {"id", "kind": taken | given_back | reversal, "amount", "waives", "entry", "currency", "at"}.
    till: list[Object] = field(default_factory=list)
    #: Decisions of the staff: {"kind": asked_again | written_off, "disputes", "amount", "at"}.
    decisions: list[Object] = field(default_factory=list)


@dataclass
class Reading:
    status: str
    due: int
    received: int
    refunded: int
    refund_pending: int
    lost: int
    waived: int
    on_its_way: int
    owed: int
    overpaid: int
    payable: bool
    reviews: set[str]

    @property
    def net(self) -> int:
        return self.received - self.refunded - self.lost


def captured(charge: Object, books: Books) -> int:
    """Return what a charge brought in; its intent says it when `charge` doesn't."""
    if charge["status"] != "succeeded":
        return 0
    if charge["amount_captured"]:
        return charge["amount_captured"]
    for intent in books.intents:
        if intent["id"] == charge["payment_intent"] and intent["status"] == "succeeded":
            return intent["amount_received"]
    return 0


def attempt_received(intent: Object, books: Books) -> int:
    """Return what one attempt to pay brought in, before refunds and disputes."""
    charges = [c for c in books.charges if c["payment_intent"] == intent["id"]]
    return sum(captured(c, books) for c in charges)


def refunds_of(intent: Object, books: Books, *statuses: str) -> int:
    refunds = [r for r in books.refunds if r["payment_intent"] == intent["id"] and r["status"] in statuses]
    return sum(r["amount"] for r in refunds)


def unexplained(intent: Object, books: Books) -> int:
    """Return what the charges of `intent` say was refunded, beyond the refunds that are known."""
    said = sum(c["amount_refunded"] for c in books.charges if c["payment_intent"] == intent["id"])
    return max(0, said - refunds_of(intent, books, "succeeded", "pending", "requires_action"))


def lost_by(intent: Object, books: Books) -> int:
    """Return what banks took back of one attempt, never more than it brought in."""
    lost = [
        d["amount"]
        for d in books.disputes
        if d["payment_intent"] == intent["id"] and d["status"] == "lost" and d["currency"] == intent["currency"]
    ]
    return min(sum(lost), attempt_received(intent, books))


def standing_lines(books: Books, kind: str) -> list[Object]:
    """Return the till's lines of one kind that no counter-entry took out."""
    reversed_ = {line["entry"] for line in books.till if line["kind"] == "reversal"}
    return [line for line in books.till if line["kind"] == kind and line["id"] not in reversed_]


def last_asked(books: Books) -> int:
    return max((d["at"] for d in books.decisions if d["kind"] == "asked_again"), default=-1)


def waived_by_refunds(books: Books, currency: str) -> int:
    """Return what the clinic gave back and no longer asks for."""
    since, total = last_asked(books), 0
    for refund in books.refunds:
        if refund["currency"] != currency or refund["status"] not in {"pending", "requires_action", "succeeded"}:
            continue
        if refund["created"] >= since:
            total += refund.get("waives", refund["amount"])
    for request in books.requests:
        if request["currency"] == currency and request["at"] >= since:
            total += request["waives"]
    for line in standing_lines(books, "given_back"):
        if line["currency"] == currency and line["at"] >= since:
            total += line["waives"]
    return total


def written_off(books: Books) -> tuple[set[str], int]:
    """Return the disputes that the staff gave up, and the sum of it, unless it was asked for again later."""
    given_up = [d for d in books.decisions if d["kind"] == "written_off" and d["at"] >= last_asked(books)]
    return {i for d in given_up for i in d["disputes"]}, sum(d["amount"] for d in given_up)


def read(books: Books, terms: Terms) -> Reading:
    """Return where the payment stands, from final objects alone."""
    ours = [i for i in books.intents if i["currency"] == terms.currency]
    till_in = [x for x in standing_lines(books, "taken") if x["currency"] == terms.currency]
    till_out = [x for x in standing_lines(books, "given_back") if x["currency"] == terms.currency]

    received = sum(attempt_received(i, books) for i in ours) + sum(x["amount"] for x in till_in)
    refunded = sum(refunds_of(i, books, "succeeded") + unexplained(i, books) for i in ours)
    refunded += sum(x["amount"] for x in till_out)
    pending = sum(refunds_of(i, books, "pending", "requires_action") for i in ours)
    pending += sum(r["amount"] for r in books.requests if r["currency"] == terms.currency)
    lost = sum(lost_by(i, books) for i in ours)
    net = received - refunded - lost

    given_up, given_up_sum = written_off(books)
    waived = waived_by_refunds(books, terms.currency) + given_up_sum
    waived += sum(unexplained(i, books) for i in ours)
    due = terms.fee if terms.canceled else terms.price
    on_its_way = sum(i["amount"] for i in ours if i["status"] == "processing")
    owed = max(0, due - waived - net - on_its_way)
    overpaid = max(0, net - due)

    open_disputes = [d for d in books.disputes if d["status"] in MOVED_BY_DISPUTE]
    lost_disputes = [d for d in books.disputes if d["status"] == "lost"]
    open_sessions = [s for s in books.sessions if s["status"] == "open"]
    free = any(s["payment_status"] == "no_payment_required" for s in books.sessions if s["status"] == "complete")

    status = first_match(books, terms, received=received, refunded=refunded, pending=pending, lost=lost, due=due)
    undecided = [d for d in lost_disputes if d["id"] not in given_up and d["created"] > last_asked(books)]
    payable = (
        owed > 0 and not on_its_way and not open_disputes and not terms.canceled and not terms.slot_lost and not undecided
    )

    reviews = set[str]()
    if undecided:
        reviews.add("taken_back")
    if any(d["status"] in INQUIRY for d in books.disputes):
        reviews.add("inquiry")
    if terms.slot_lost and net > 0:
        reviews.add("slot_lost")
    if terms.canceled and net != terms.fee and received:
        reviews.add("paid_after_cancel")
    if any(r["status"] == "failed" for r in books.refunds):
        reviews.add("refund_failed")
    if any(i["currency"] != terms.currency and attempt_received(i, books) for i in books.intents):
        reviews.add("currency_mismatch")
    if any(d["currency"] != terms.currency for d in lost_disputes):
        reviews.add("currency_mismatch")
    if not terms.canceled and overpaid:
        reviews.add("double_payment")
    if not terms.canceled and 0 < net < due - waived and net != terms.deposit:
        reviews.add("amount_mismatch")
    assert open_sessions is not None and free is not None
    return Reading(
        status, due, received, refunded, pending, lost, waived, on_its_way, owed, overpaid, payable, reviews
    )


def first_match(  # noqa: PLR0911 - one return a row of the table
    books: Books, terms: Terms, *, received: int, refunded: int, pending: int, lost: int, due: int
) -> str:
    """Return the first status whose condition holds, in the order of the table of states."""
    net = received - refunded - lost
    if any(d["status"] in MOVED_BY_DISPUTE for d in books.disputes):
        return "disputed"
    if lost and net <= 0:
        return "charged_back"
    if pending:
        return "refund_pending"
    if received and refunded >= received:
        return "refunded"
    if refunded and net < due:
        return "partially_refunded"
    if received and net >= due:
        return "paid"
    if any(s["payment_status"] == "no_payment_required" for s in books.sessions):
        return "paid"
    if received:
        return "underpaid"
    if any(i["status"] == "processing" for i in books.intents):
        return "processing"
    if terms.canceled:
        return "void"
    if any(s["status"] == "open" for s in books.sessions):
        return "checkout_open"
    last = max(books.sessions, key=lambda s: s["created"], default=None)
    if last and last["status"] == "complete":
        return "failed"
    return "expired" if last else "unpaid"
