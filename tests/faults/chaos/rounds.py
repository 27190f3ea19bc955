"""Rounds of a chaos run: each injects and repairs one or two faults, then waits until every page is up to date."""

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

from tests.faults.chaos.checks import lost_events, page_differences, wrong_pages
from tests.faults.chaos.faults import CLASSIC, FAULTS, Fault
from tests.faults.chaos.world import Truth, World

SEVERAL = "several at once"
LONGEST = 60.0  # seconds after which a page that is not up to date counts as wrong
SLOW = 15.0  # seconds; a slower recovery is reported

Say = Callable[[str], None]


@dataclass
class Row:
    """A row of the printed table: what happened during one fault's rounds."""

    name: str
    injected: int = 0
    acknowledged: set[str] = field(default_factory=set)
    lost: int = 0
    wrong_pages: int = 0
    seconds: list[float] = field(default_factory=list)  # from each repair until all pages were up to date

    def line(self) -> str:
        median, longest = (statistics.median(self.seconds), max(self.seconds)) if self.seconds else (0.0, 0.0)
        figures = f"{self.injected:9} {len(self.acknowledged):13,} {self.lost:5} {self.wrong_pages:12}"
        return f"{self.name:38}{figures} {median:8.1f} s {longest:6.1f} s"


HEADING = f"{'fault':38}{'injected':>9} {'acknowledged':>13} {'lost':>5} {'wrong pages':>12} {'median':>10} {'max':>8}"


def table(rows: list[Row]) -> str:
    total = Row("all")
    for row in rows:
        total.injected += row.injected
        total.acknowledged |= row.acknowledged
        total.lost, total.wrong_pages = total.lost + row.lost, total.wrong_pages + row.wrong_pages
        total.seconds += row.seconds
    return "\n".join([HEADING, *(row.line() for row in rows), total.line()])


def draws(world: World, faults: Sequence[Fault]) -> Iterator[list[Fault]]:
    """Yield a list of faults for each round, without end: one fault, or two in about a quarter of the rounds.

    All faults are drawn once, in random order, before any is drawn again.
    """
    while True:
        deck = world.chance.sample(faults, len(faults))
        while deck:
            drawn = [deck.pop()]
            if deck and deck[-1].victim != drawn[0].victim and world.chance.random() < 0.25:
                drawn.append(deck.pop())
            yield drawn


def break_and_mend(world: World, faults: list[Fault]) -> None:
    with ExitStack() as broken:
        for fault in faults:
            broken.enter_context(fault.breaks(world))
            time.sleep(world.chance.uniform(0, 0.5) if fault is not faults[-1] else 0)
        time.sleep(max(world.chance.uniform(*fault.seconds) for fault in faults))


def storm(world: World) -> tuple[list[Fault], float]:
    """Inject one fault after the other until all events are sent, then wait until every page is up to date.

    Return the injected faults and how many seconds the wait took. It begins at most a second after the last repair.
    """
    happened: list[Fault] = []
    for faults in draws(world, CLASSIC):
        if not world.stripe.running:
            break
        happened += faults
        break_and_mend(world, faults)
        time.sleep(world.chance.uniform(0, 1))
    truth = world.wait_for_truth(LONGEST)
    assert not truth.never, truth
    return happened, truth.seconds


def rounds(world: World, minutes: float, say: Say) -> list[Row]:
    """Run rounds of faults for `minutes` and return the rows of the table.

    Each round ends when all pages are up to date, so that a slow recovery is counted for the fault that caused it.
    """
    rows = {name: Row(name) for name in [*(fault.name for fault in FAULTS), SEVERAL]}
    began, draw = time.monotonic(), draws(world, FAULTS)
    while (left := began + minutes * 60 - time.monotonic()) > 0:
        faults = next(draw)
        row = rows[faults[0].name if len(faults) == 1 else SEVERAL]
        told, names = len(world.stripe.acknowledged), " and ".join(fault.name for fault in faults)
        say(f"{left / 60:4.1f} min left  {told:6} told  {names}")
        wrong_before, truth = row.wrong_pages, one_round(world, faults, row)
        if truth.seconds > SLOW:
            say(f"  {names}: right after {truth.seconds:.1f} s, the last was {truth.last}\n")
        for wrong in page_differences(world) if row.wrong_pages > wrong_before else ():
            say(f"  {names}: {wrong}\n")
    missing = lost_events(world)
    for row in rows.values():
        row.lost = len(row.acknowledged & missing)
    return list(rows.values())


def one_round(world: World, faults: list[Fault], row: Row) -> Truth:
    before = len(world.stripe.acknowledged)
    break_and_mend(world, faults)
    truth = world.wait_for_truth(LONGEST)
    world.stripe.pause()
    world.wait_for_truth(LONGEST)
    row.injected += 1
    row.seconds.append(truth.seconds)
    row.acknowledged |= {event.event_id for event in world.stripe.acknowledged[before:]}
    row.wrong_pages += len({*truth.never, *wrong_pages(world)})
    world.stripe.go_on()
    return truth
