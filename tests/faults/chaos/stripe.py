"""Posts the events of many payments concurrently and, as Stripe does, repeats each until it is acknowledged."""

import itertools
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from payments.domain.facts import StripeFact
from payments.domain.precedence import merge
from payments.domain.status import Standing, Terms, derive
from payments.gateway.event_types import from_event
from tests.clinic import Clinic
from tests.payments.stripe_story import Event, Story

LANES = 4  # deliveries at once
AGAIN_AFTER = 0.25  # seconds


def refused(story: Story) -> Iterator[Event]:
    yield story.requires_action("A")
    yield story.failed("A")
    yield story.processing("B")
    yield story.succeeded("B")
    yield from refunds(story, "B")


def disputed(story: Story) -> Iterator[Event]:
    yield story.completed("A")
    yield story.dispute("needs_response")
    yield story.dispute("under_review", "updated")
    yield story.dispute("won", "closed")
    yield from refunds(story, "A")


def refunds(story: Story, attempt: str) -> Iterator[Event]:
    """Yield events of refunds of one cent each, without end; every refund is "pending" first and then "succeeded".

    `attempt` names the attempt to pay whose money is refunded.
    """
    for number in itertools.count(1):
        yield story.refund(1, "pending", attempt=attempt, name=str(number))
        yield story.refund(1, "succeeded", attempt=attempt, name=str(number))


class Life:
    """The events of one payment, in order; each event changes the payment.

    `standing` is the state that the payment must have after the events so far; `changes` is the number of changes that
    its pages must show by then. Both are computed from the events, without a database.
    """

    def __init__(self, story: Story, kind: int) -> None:
        self.public_id = str(story.payment.public_id)
        self._events = (refused, disputed)[kind % 2](story)
        self._terms = Terms(story.amount, story.currency)
        self._facts: dict[str, StripeFact] = {}
        self.standing = derive([], self._terms)
        self.changes = self.told = 0

    def next(self) -> Event:
        event = next(self._events)
        for fact in from_event(event):
            known = self._facts.get(fact.stripe_id)
            self._facts[fact.stripe_id] = merge(known, fact) if known else fact
        before, self.standing = self.standing, derive(self._facts.values(), self._terms)
        self.changes += visible(before) != visible(self.standing)
        self.told += 1
        return event


def visible(standing: Standing) -> Standing:
    """Return the payment's state `standing` without its payment method, whose changes aren't sent to pages."""
    return replace(standing, method="")


@dataclass(frozen=True)
class Acknowledged:
    event_id: str
    at: float  # monotonic seconds


class Stripe:
    """Posts `each` events about every payment in `lives`, in total about `per_second` events a second.

    It posts each event to a randomly chosen URL of `urls`.
    """

    def __init__(
        self, clinic: Clinic, lives: Sequence[Life], urls: Sequence[str], per_second: float, each: int
    ) -> None:
        self.lives, self.acknowledged = lives, list[Acknowledged]()
        self.answers: Counter[int] = Counter()
        self.slowest = 0.0  # seconds of the slowest answer
        self._clinic, self._urls = clinic, list(urls)
        self._pause_between, self._each = LANES / per_second, each
        self._going, self._ended = threading.Event(), threading.Event()
        self._turns = [threading.Lock() for _ in range(LANES)]  # locked while an event is being sent
        self._threads = [threading.Thread(target=self._work, args=(lane,), daemon=True) for lane in range(LANES)]
        self.go_on()
        for thread in self._threads:
            thread.start()

    def _work(self, lane: int) -> None:
        mine = self.lives[lane::LANES]
        for life in itertools.chain.from_iterable(itertools.repeat(mine, self._each)):
            while not self._going.wait(0.2):
                if self._ended.is_set():
                    return
            with self._turns[lane]:
                self._tell(life.next())
            time.sleep(random.uniform(0.5, 1.5) * self._pause_between)

    def _tell(self, event: Event) -> None:
        while not self._ended.is_set():
            began = time.monotonic()
            answer = self._clinic.tell(event, random.choice(self._urls))
            self.answers[answer] += 1
            if answer == 200:
                self.acknowledged.append(Acknowledged(event["id"], time.monotonic()))
                self.slowest = max(self.slowest, time.monotonic() - began)
                return
            self._ended.wait(AGAIN_AFTER)

    @property
    def running(self) -> bool:
        """Whether any events are left to send."""
        return any(thread.is_alive() for thread in self._threads)

    def go_on(self) -> None:
        self._going.set()

    def pause(self) -> None:
        """Stop sending until `go_on` is called, and wait until every event that was sent is acknowledged."""
        self._going.clear()
        for turn in self._turns:
            with turn:
                pass

    def end(self) -> None:
        self._ended.set()
        self._going.clear()
        for thread in self._threads:
            thread.join(20)
