"""Tests, with a Hypothesis state machine, that a payment's money ends as Stripe's and the desk's final objects say.

The machine plays Stripe (played_stripe.py) and a desk, at random, and delivers the events in any order, late, twice or
not at all. At the end, what the site derives is compared with a second reading of the objects (second_reading.py).
"""

import random
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from payments.domain.attempts import attempts_of, desk_refundable
from payments.domain.facts import Kind, StripeFact
from payments.domain.movements import MovementKind, movements
from payments.domain.precedence import merge
from payments.domain.status import Standing, Terms, derive, undecided_disputes
from tests.payments.domain.played_stripe import MADE, PlayedStripe
from tests.payments.domain.second_reading import Books, Object, read

PRICE = 5000
MOST_ATTEMPTS = 4
AMOUNTS = st.sampled_from([500, 1000, 2000, 3000, PRICE, 8000])
PICK = st.integers(0, 5)  # chooses one of what is possible
SUMS = ("due", "received", "refunded", "refund_pending", "lost", "waived", "on_its_way", "owed")


def possible(what: Callable[["MoneyMachine"], Any]) -> Any:
    """Return a decorator for a rule that can be played only if `what` returns something."""
    return precondition(lambda machine: bool(what(machine)))


def at_stage(*stages: str) -> Any:
    return possible(lambda machine: machine.stripe.at_stage(*stages))


class MoneyMachine(RuleBasedStateMachine):
    """Plays Stripe and the desk for one payment. `facts` are what the site knows; `books` is what has happened."""

    def __init__(self) -> None:
        super().__init__()
        self.stripe = PlayedStripe(old_endpoint=False)
        self.terms = Terms(PRICE, "eur")
        self.facts: dict[str, StripeFact] = {}
        self.books = Books()
        self.ended_at: dict[str, int] = {}  # when the site first saw that a refund failed or was canceled
        self.chance = random.Random(0)
        self.entries = 0
        self.derived: tuple[Terms, Standing] | None = None  # cached until a fact or the terms change

    @initialize(
        old_endpoint=st.booleans(),
        deposit=st.sampled_from([0, 0, 2000]),
        start=st.randoms(use_true_random=False),
        amount=st.sampled_from([PRICE, PRICE, 2000]),
        step=st.sampled_from(["pay", "pay", "submit_debit", "decline"]),
    )
    def begin(self, old_endpoint: bool, deposit: int, start: random.Random, amount: int, step: str) -> None:
        self.stripe = PlayedStripe(old_endpoint=old_endpoint)
        self.terms = replace(self.terms, deposit=deposit)
        self.chance = random.Random(start.getrandbits(32))
        self.stripe.open("A", amount, "eur")
        getattr(self.stripe, step)("A")

    @property
    def standing(self) -> Standing:
        if self.derived is None or self.derived[0] != self.terms:
            self.derived = self.terms, derive(self.facts.values(), self.terms)
        return self.derived[1]

    def wait(self, days: float = 0.0) -> None:
        self.stripe.now += 1 + int(days * 86400)

    def one(self, choices: list[Any], pick: int) -> Any:
        """Let a second pass, and return one of these choices."""
        self.wait()
        return choices[pick % len(choices)]

    # What reaches the site

    def receive(self, facts: list[StripeFact]) -> None:
        self.derived = None
        for fact in facts:
            known = self.facts.get(fact.stripe_id)
            self.facts[fact.stripe_id] = merge(known, fact) if known else fact
            if fact.kind == Kind.REFUND and fact.status in ("failed", "canceled"):
                self.ended_at[fact.stripe_id] = min(fact.as_of, self.ended_at.get(fact.stripe_id, fact.as_of))

    @possible(lambda machine: machine.stripe.sent)
    @rule(several=st.integers(1, 8))
    def deliver(self, several: int) -> None:
        """Deliver some of what Stripe has sent, even if it was delivered before."""
        for facts in self.chance.choices(self.stripe.sent, k=several):
            self.receive(facts)

    @possible(lambda machine: machine.stripe.sent)
    @rule(several=st.integers(1, 4))
    def deliver_newest(self, several: int) -> None:
        for facts in self.stripe.sent[-several:]:
            self.receive(facts)

    @possible(lambda machine: machine.stripe.attempts)
    @rule(pick=PICK)
    def ask_stripe(self, pick: int) -> None:
        attempt = self.one(list(self.stripe.attempts), pick)
        for facts in self.stripe.answer_all([attempt]):
            self.receive(facts)

    @rule(days=st.sampled_from([0.01, 1, 8]))
    def let_time_pass(self, days: float) -> None:
        self.wait(days)

    # Checkout

    @possible(lambda machine: len(machine.stripe.attempts) < MOST_ATTEMPTS)
    @rule(
        amount=st.one_of(st.none(), AMOUNTS),
        currency=st.sampled_from(["eur", "eur", "eur", "eur", "usd"]),
        manual=st.sampled_from([False, False, True]),
        free=st.sampled_from([False] * 9 + [True]),
    )
    def open_session(self, amount: int | None, currency: str, manual: bool, free: bool) -> None:
        """Open a session for this amount; None: for what is owed."""
        self.wait()
        amount = amount or self.standing.amounts.owed or PRICE
        self.stripe.open("ABCD"[len(self.stripe.attempts)], amount, currency, manual=manual, free=free)

    @at_stage("open")
    @rule(pick=PICK, step=st.sampled_from(["decline", "ask_action", "expire", "give_instructions"]))
    def go_on(self, pick: int, step: str) -> None:
        getattr(self.stripe, step)(self.one(self.stripe.at_stage("open"), pick))

    @at_stage("open")
    @rule(pick=PICK, step=st.sampled_from(["pay", "pay", "submit_debit"]))
    def pay(self, pick: int, step: str) -> None:
        getattr(self.stripe, step)(self.one(self.stripe.at_stage("open"), pick))

    @at_stage("processing", "instructions")
    @rule(pick=PICK, succeeds=st.sampled_from([True, True, False]))
    def settle(self, pick: int, succeeds: bool) -> None:
        self.stripe.settle(self.one(self.stripe.at_stage("processing", "instructions"), pick), succeeds=succeeds)

    @at_stage("authorized")
    @rule(pick=PICK, amount=st.one_of(st.none(), AMOUNTS))
    def capture(self, pick: int, amount: int | None) -> None:
        """Capture what was authorized, or less; None: let the authorization end."""
        attempt = self.one(self.stripe.at_stage("authorized"), pick)
        if amount:
            self.stripe.capture(attempt, min(amount, self.stripe.only("payment_intent", attempt)["amount"]))
        else:
            self.stripe.release(attempt)

    # Refunds

    @property
    def refundable(self) -> list[str]:
        return [attempt for attempt in self.stripe.attempts if self.stripe.left(attempt) > 0]

    @possible(lambda machine: machine.refundable)
    @rule(pick=PICK, amount=AMOUNTS, status=st.sampled_from(["succeeded", "pending", "requires_action"]))
    def refund_in_dashboard(self, pick: int, amount: int, status: str) -> None:
        attempt = self.one(self.refundable, pick)
        self.stripe.refund(attempt, min(amount, self.stripe.left(attempt)), status)

    @possible(lambda machine: machine.refundable)
    @rule(
        pick=PICK,
        amount=AMOUNTS,
        waived=st.sampled_from([0, 0.5, 1]),
        outcome=st.sampled_from(["answered", "answered", "answer lost", "never arrived", "refused"]),
        status=st.sampled_from(["succeeded", "succeeded", "pending"]),
    )
    def refund_from_the_site(self, pick: int, amount: int, waived: float, outcome: str, status: str) -> None:
        attempt = self.one(self.refundable, pick)
        amount = min(amount, self.stripe.left(attempt))
        intent = self.stripe.only("payment_intent", attempt)
        request = {
            "id": f"request_{len(self.books.requests)}",
            "of": attempt,
            "payment_intent": intent["id"],
            "amount": amount,
            "waives": int(amount * waived),
            "created": self.stripe.now,
            "withdrawn": outcome == "refused",
        }
        self.books.requests.append(request)
        fact = StripeFact(
            kind=Kind.REFUND,
            stripe_id=request["id"],
            status="pending",
            as_of=self.stripe.now,
            created=self.stripe.now,
            amount=amount,
            currency=intent["currency"],
            payment_intent_id=intent["id"],
            attempt=attempt,
            details={"waives": request["waives"]},
        )
        self.receive([fact])
        if outcome == "refused":
            self.receive([replace(fact, status="canceled")])
        elif outcome != "never arrived":
            refund = self.stripe.refund(attempt, amount, status, request["id"])
            if outcome == "answered":
                self.stripe.answer(refund)

    @property
    def never_arrived(self) -> list[Object]:
        """Return the requests that Stripe hasn't got yet, and would still accept."""
        got = {refund["metadata"].get("refund_request") for refund in self.stripe.of("refund")}
        return [
            request
            for request in self.books.requests
            if not request["withdrawn"]
            and request["id"] not in got
            and self.stripe.left(request["of"]) >= request["amount"]
        ]

    @possible(lambda machine: machine.never_arrived)
    @rule(pick=PICK, refused=st.booleans())
    def send_request_again(self, pick: int, refused: bool) -> None:
        """Send a request again of which Stripe has made no refund; Stripe makes it now, or refuses."""
        request = self.one(self.never_arrived, pick)
        if refused:
            request |= {"withdrawn": True, "failed_at": self.stripe.now}
            self.receive([replace(self.facts[request["id"]], status="failed", as_of=self.stripe.now)])
        else:
            self.stripe.answer(self.stripe.refund(request["of"], request["amount"], "succeeded", request["id"]))

    @possible(lambda machine: [r for r in machine.stripe.of("refund") if r["status"] in MADE])
    @rule(pick=PICK, status=st.sampled_from(["succeeded", "succeeded", "failed", "canceled", "requires_action"]))
    def change_refund(self, pick: int, status: str) -> None:
        """Let a refund go on; a succeeded one can still fail."""
        refund = self.one([r for r in self.stripe.of("refund") if r["status"] in MADE], pick)
        if refund["status"] == "succeeded":
            status = "failed"
        if (refund["status"], status) != ("requires_action", "requires_action"):
            self.stripe.change_refund(refund, status)

    # Disputes

    @property
    def disputable(self) -> list[str]:
        paid = self.stripe.at_stage("paid")
        return [attempt for attempt in paid if len(self.stripe.of("dispute", attempt)) < 2]

    @possible(lambda machine: machine.disputable)
    @rule(
        pick=PICK,
        amount=AMOUNTS,
        currency=st.sampled_from(["", "", "", "usd"]),
        status=st.sampled_from(["needs_response", "needs_response", "warning_needs_response", "lost"]),
    )
    def dispute(self, pick: int, amount: int, currency: str, status: str) -> None:
        """Open a dispute or an inquiry; "lost" is a direct debit that the patient's bank returned."""
        attempt = self.one(self.disputable, pick)
        charge = self.stripe.only("charge", attempt)
        self.stripe.dispute(attempt, min(amount, charge["amount_captured"]), currency or charge["currency"], status)

    NEXT = {
        "warning_needs_response": ("warning_under_review", "warning_closed", "needs_response"),
        "warning_under_review": ("warning_closed", "needs_response"),
        "needs_response": ("under_review", "won", "lost"),
        "under_review": ("won", "lost"),
        "lost": ("won",),
    }

    @possible(lambda machine: [d for d in machine.stripe.of("dispute") if d["status"] in machine.NEXT])
    @rule(pick=PICK, following=PICK)
    def change_dispute(self, pick: int, following: int) -> None:
        dispute = self.one([d for d in self.stripe.of("dispute") if d["status"] in self.NEXT], pick)
        choices = self.NEXT[dispute["status"]]
        self.stripe.change_dispute(dispute, choices[following % len(choices)])

    # The desk

    def enter(self, kind: Kind, name: str, status: str, amount: int = 0, **details: Any) -> None:
        """Record a fact of the site's own."""
        fact = StripeFact(
            kind=kind,
            stripe_id=name,
            status=status,
            as_of=self.stripe.now,
            created=self.stripe.now,
            amount=amount,
            currency=self.terms.currency,
            attempt=details.pop("attempt", ""),
            details=details,
        )
        self.receive([fact])

    def line(self, kind: str, amount: int, **fields: Any) -> str:
        """Write a line into the till's book, and return its id."""
        self.entries += 1
        name = f"{kind}_{self.entries}"
        self.books.till.append(
            {"id": name, "kind": kind, "amount": amount, "created": self.stripe.now, "entry": "", **fields}
        )
        return name

    @property
    def in_the_till(self) -> int:
        return desk_refundable(attempts_of(self.facts.values())) if self.books.till else 0

    @possible(lambda machine: len(machine.books.till) < 8)
    @rule(amount=AMOUNTS, method=st.sampled_from(["cash", "terminal", "cheque", "insurer"]))
    def take(self, amount: int, method: str) -> None:
        self.wait()
        self.enter(Kind.OFFLINE, self.line("taken", amount), method, amount)

    @possible(lambda machine: machine.in_the_till)
    @rule(amount=AMOUNTS, waived=st.sampled_from([0, 0.5, 1, 1]))
    def give_back(self, amount: int, waived: float) -> None:
        self.wait()
        amount = min(amount, self.in_the_till)
        waives = int(amount * waived)
        said = {} if waived == 1 else {"waives": waives}
        self.enter(Kind.DESK_REFUND, self.line("given", amount, waives=waives), "cash", amount, **said)

    @property
    def reversible(self) -> list[Object]:
        done = {line["entry"] for line in self.books.till}
        entries = [line for line in self.books.till if line["kind"] != "reversal" and line["id"] not in done]
        in_the_till = self.in_the_till
        return [line for line in entries if line["kind"] == "given" or line["amount"] <= in_the_till]

    @possible(lambda machine: machine.reversible)
    @rule(pick=PICK)
    def reverse(self, pick: int) -> None:
        entry = self.one(self.reversible, pick)
        self.line("reversal", entry["amount"], entry=entry["id"])
        self.enter(Kind.REVERSAL, f"reversal_{entry['id']}", "reversed", entry["amount"], entry=entry["id"])

    def decide(self, kind: str, amount: int = 0, *, disputes: list[str]) -> None:
        name = f"{kind}_{len(self.books.decisions)}"
        decision = {"kind": kind, "amount": amount, "disputes": disputes, "created": self.stripe.now}
        self.books.decisions.append(decision)
        self.enter(Kind.OBSERVATION, name, kind, amount, disputes=disputes)

    @property
    def undecided(self) -> list[str]:
        if not self.standing.amounts.lost:
            return []
        return [fact.stripe_id for fact in undecided_disputes(self.facts.values(), self.terms)]

    @possible(lambda machine: machine.undecided or machine.standing.amounts.waived)
    @rule()
    def ask_again(self) -> None:
        self.wait()
        self.decide("asked_again", disputes=self.undecided)

    @possible(lambda machine: machine.standing.amounts.owed)
    @rule()
    def write_off(self) -> None:
        self.wait()
        self.decide("written_off", self.standing.amounts.owed, disputes=self.undecided)

    @rule(step=st.sampled_from(["ask for approval", "decide about approvals", "find overdue"]))
    def observe(self, step: str) -> None:
        """Let a refund wait for approval, decide about those that wait, or find the debits overdue."""
        self.wait()
        if step == "ask for approval":
            self.books.approvals.append({"open": True})
            self.enter(Kind.OBSERVATION, f"approval_{len(self.books.approvals)}", "awaiting_approval", 1000)
        elif step == "decide about approvals":
            for number, approval in enumerate(self.books.approvals, 1):
                approval["open"] = False
                self.enter(Kind.OBSERVATION, f"approval_{number}", "declined", 1000)
        else:
            for attempt in self.stripe.at_stage("processing", "authorized"):
                self.books.overdue.add(self.stripe.only("checkout.session", attempt)["id"])
                self.enter(Kind.OBSERVATION, f"stuck_{attempt}", "stuck", attempt=attempt)

    # The appointment

    @rule(
        price=st.sampled_from([None, None, 3000, PRICE, 8000]),
        fee=st.sampled_from([0, 0, 2000, PRICE]),
        slot_lost=st.booleans(),
    )
    def change_appointment(self, price: int | None, fee: int, slot_lost: bool) -> None:
        """Change the price; None: cancel the appointment, or book it again."""
        self.wait()
        if price not in (None, self.terms.price):
            earlier = self.terms.earlier_prices | {self.terms.price}
            self.terms = replace(self.terms, price=price, earlier_prices=earlier)
        elif self.terms.canceled:
            self.terms = replace(self.terms, canceled=False, fee=0, slot_lost=False)
            self.decide("asked_again", disputes=[])
        else:
            self.terms = replace(self.terms, canceled=True, fee=fee, slot_lost=slot_lost)

    # What always holds

    @invariant()
    def sums_agree(self) -> None:
        amounts = self.standing.amounts
        lines = movements(self.facts.values())
        assert sum(line.amount for line in lines if line.currency == self.terms.currency) == amounts.net
        assert amounts.owed == max(0, amounts.due - amounts.waived - amounts.net - amounts.on_its_way)
        assert min(amounts.received, amounts.refunded, amounts.lost, amounts.waived, amounts.on_its_way) >= 0
        came: defaultdict[str, int] = defaultdict(int)
        for line in lines:
            if line.kind in (MovementKind.PAYMENT, MovementKind.REFUND):
                came[line.currency] += line.amount
        assert all(amount >= 0 for amount in came.values())

    def teardown(self) -> None:
        """Let everything arrive, or be read from Stripe after a loss, and compare with the second reading."""
        self.wait(1)
        sent = list(self.stripe.sent)
        lossy = self.chance.random() < 0.4
        if lossy:
            sent = self.chance.sample(sent, self.chance.randrange(len(sent) + 1))
            sent += self.stripe.answer_all(self.stripe.attempts)
        else:
            sent += self._answers_of_the_sweep()
        self.chance.shuffle(sent)
        for facts in sent + self.chance.choices(sent or [[]], k=5):
            self.receive(facts)
        found, terms = self.standing, self.terms
        expected = read(self.final_books(), terms)
        amounts = {name: getattr(found.amounts, name) for name in SUMS}
        assert amounts == {name: getattr(expected, name) for name in SUMS}
        assert found.status == expected.status
        assert set(found.reviews) == expected.reviews
        assert found.payable == expected.payable
        assert found.dispute_due_by == expected.answer_by
        for attempt in attempts_of(self.facts.values()):
            if attempt.name in self.stripe.attempts:
                assert attempt.refundable <= self.stripe.left(attempt.name)

    def _answers_of_the_sweep(self) -> list[list[StripeFact]]:
        """Return Stripe's answers about the refunds that the site asked for and that it heard nothing of."""
        before = len(self.stripe.sent)
        for refund in self.stripe.of("refund"):
            if refund["metadata"] and refund["id"] in self.stripe.missed:
                self.stripe.answer(refund)
        return self.stripe.sent[before:]

    def final_books(self) -> Books:
        books = self.books
        books.sessions, books.intents = self.stripe.of("checkout.session"), self.stripe.of("payment_intent")
        books.charges, books.disputes = list(self.stripe.seen("charge")), self.stripe.of("dispute")
        books.refunds = [obj | {"ended_at": self.ended_at.get(obj["id"], 0)} for obj in self.stripe.seen("refund")]
        return books


def run(lives: int, part: int = 0) -> None:
    """Play so many lives of a payment; each part plays others."""
    limits = settings(
        max_examples=lives,
        stateful_step_count=40,
        deadline=None,
        database=None,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(seed(part)(type(f"Part{part}", (MoneyMachine,), {})), settings=limits)


@pytest.mark.slow
def test_the_money_is_what_the_final_objects_say() -> None:
    run(100)


def test_the_machine_catches_a_site_that_believes_the_last_event(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.payments.domain.test_money_machine.merge", lambda one, other: other)
    with pytest.raises(AssertionError):
        run(200)


@pytest.mark.nightly
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("part", range(1, 11))
def test_twenty_thousand_lives_end_as_the_final_objects_say(part: int) -> None:
    run(2000, part)
