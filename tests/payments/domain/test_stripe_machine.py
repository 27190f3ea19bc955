"""Tests, with a Hypothesis state machine, that a payment ends in the state that it has at Stripe.

The machine does what can happen at Stripe, at random, and delivers the events in any order, some repeatedly.
"""

import random
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from payments.domain.facts import StripeFact
from payments.domain.precedence import merge
from payments.domain.status import PaymentStatus, Standing, Terms, derive
from payments.gateway.event_types import from_event
from tests.payments.domain.test_order import NoDatabase
from tests.payments.stripe_story import Event, Story

DUE = 5000
ATTEMPT = st.sampled_from("AB")


class StripeMachine(RuleBasedStateMachine):
    """Plays Stripe for one payment and delivers its events.

    `state` maps the name of each attempt to pay to its state at Stripe. `standing` is what the site derives from the
    events delivered so far: status, amounts and reviews.
    """

    def __init__(self) -> None:
        super().__init__()
        self.story = Story(NoDatabase())
        self.sent: list[Event] = []
        self.delivered: list[Event] = []
        self.facts: dict[str, StripeFact] = {}
        self.state = {"A": "open", "B": "open"}
        self.refunds: dict[str, dict[str, Any]] = {}
        self.disputes: dict[str, str] = {}

    # Rules: what happens at Stripe

    @rule(attempt=ATTEMPT)
    def decline(self, attempt: str) -> None:
        if self.state[attempt] == "open":
            self.sent.append(self.story.failed(attempt))

    @rule(attempt=ATTEMPT)
    def ask_for_action(self, attempt: str) -> None:
        if self.state[attempt] == "open":
            self.sent.append(self.story.requires_action(attempt))

    @rule(attempt=ATTEMPT)
    def expire(self, attempt: str) -> None:
        if self.state[attempt] == "open":
            self.state[attempt] = "expired"
            self.sent += [self.story.canceled(attempt), self.story.expired(attempt)]

    @rule(attempt=ATTEMPT)
    def pay_by_card(self, attempt: str) -> None:
        if self.state[attempt] == "open":
            self._paid(attempt, self.story.completed(attempt))

    @rule(attempt=ATTEMPT)
    def pay_by_debit(self, attempt: str) -> None:
        if self.state[attempt] == "open":
            self.state[attempt] = "processing"
            self.sent += [self.story.processing(attempt), self.story.completed(attempt, "unpaid")]

    @rule(attempt=ATTEMPT, succeeds=st.booleans())
    def settle_debit(self, attempt: str, succeeds: bool) -> None:
        if self.state[attempt] != "processing":
            return
        if succeeds:
            self._paid(attempt, self.story.async_succeeded(attempt))
        else:
            self.state[attempt] = "failed"
            self.sent += [self.story.failed(attempt), self.story.async_failed(attempt)]

    def _paid(self, attempt: str, session: Event) -> None:
        self.state[attempt] = "paid"
        self.sent += [session, self.story.charged(attempt), self.story.succeeded(attempt)]

    @rule(attempt=ATTEMPT, amount=st.integers(1, DUE), status=st.sampled_from(["pending", "succeeded"]))
    def refund(self, attempt: str, amount: int, status: str) -> None:
        given = [r for r in self.refunds.values() if r["attempt"] == attempt and r["status"] != "failed"]
        if self.state[attempt] != "paid" or amount > DUE - sum(r["amount"] for r in given) or len(self.refunds) > 8:
            return
        name = str(len(self.refunds) + 1)
        self.refunds[name] = {"attempt": attempt, "amount": amount, "status": status}
        self._tell_refund(name)

    @rule(choice=st.integers(0, 8), status=st.sampled_from(["succeeded", "failed"]))
    def finish_refund(self, choice: int, status: str) -> None:
        """Let a pending refund succeed, or let a pending or succeeded refund fail."""
        name = str(choice + 1)
        if name in self.refunds and self.refunds[name]["status"] != "failed":
            self.refunds[name]["status"] = status
            self._tell_refund(name)

    def _tell_refund(self, name: str) -> None:
        refund = self.refunds[name]
        self.sent.append(self.story.refund(refund["amount"], refund["status"], attempt=refund["attempt"], name=name))

    @rule(attempt=ATTEMPT)
    def dispute(self, attempt: str) -> None:
        if self.state[attempt] == "paid" and attempt not in self.disputes:
            self.disputes[attempt] = "needs_response"
            self.sent.append(self.story.dispute("needs_response", attempt=attempt))

    @rule(attempt=ATTEMPT, verdict=st.sampled_from(["won", "lost"]))
    def close_dispute(self, attempt: str, verdict: str) -> None:
        if self.disputes.get(attempt) == "needs_response" or (self.disputes.get(attempt), verdict) == ("lost", "won"):
            self.disputes[attempt] = verdict
            self.sent.append(self.story.dispute(verdict, "closed", attempt=attempt))

    # Rules: what reaches the site

    @rule(choice=st.randoms(use_true_random=False))
    def deliver(self, choice: Any) -> None:
        """Deliver any event that Stripe has sent, even one that was delivered before."""
        if self.sent:
            self._receive(choice.choice(self.sent))

    def _receive(self, event: Event) -> None:
        self.delivered.append(event)
        for fact in from_event(event):
            known = self.facts.get(fact.stripe_id)
            self.facts[fact.stripe_id] = merge(known, fact) if known else fact

    @property
    def standing(self) -> Standing:
        return derive(self.facts.values(), Terms(DUE, "eur"))

    @invariant()
    def never_more_than_stripe_says(self) -> None:
        assert self.standing.amounts.received <= DUE * len(self.state)
        assert self.standing.amounts.refunded <= self.standing.amounts.received

    def teardown(self) -> None:
        """Deliver every event, then assert that the site's amounts and status agree with Stripe's."""
        for event in random.Random(len(self.delivered)).sample(self.sent, len(self.sent)):
            self._receive(event)
        standing = self.standing
        paid = sum(DUE for state in self.state.values() if state == "paid")
        refunds = self.refunds.values()
        assert standing.amounts.received == paid
        assert standing.amounts.refunded == sum(r["amount"] for r in refunds if r["status"] == "succeeded")
        assert standing.amounts.refund_pending == sum(r["amount"] for r in refunds if r["status"] == "pending")
        assert standing.amounts.lost == sum(DUE for verdict in self.disputes.values() if verdict == "lost")
        assert (standing.status == PaymentStatus.DISPUTED) == ("needs_response" in self.disputes.values())
        if not paid and "processing" in self.state.values():
            assert standing.status == PaymentStatus.PROCESSING
        if paid and not self.refunds and not self.disputes:
            assert standing.status == PaymentStatus.PAID


def run(examples: int) -> None:
    limits = settings(
        max_examples=examples,
        stateful_step_count=40,
        deadline=None,
        derandomize=True,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(StripeMachine, settings=limits)


@pytest.mark.slow
def test_whatever_stripe_does_the_site_ends_at_the_truth() -> None:
    run(200)


def test_the_machine_catches_a_site_that_believes_the_last_event(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.payments.domain.test_stripe_machine.merge", lambda one, other: other)
    with pytest.raises(AssertionError):
        run(200)
