"""Lets a process of its own answer deliveries of events: `python -m tests.payments.lane_process SEED FILE`.

FILE is a JSON list of events. They are delivered in an order that SEED decides, 32 at a time, until each is answered
with 200.
"""

import asyncio
import json
import random
import sys
from pathlib import Path

import django

django.setup()

from payments.gateway.lane import Lane  # noqa: E402 models can't be imported before Django is set up
from tests.payments.stripe_story import Event, delivery  # noqa: E402


async def answer_all(events: list[Event]) -> set[int]:
    """Return the status codes of the answers."""
    lane, turns = Lane(), asyncio.Semaphore(32)

    async def answer(event: Event) -> int:
        async with turns:
            return (await lane.answer(delivery(event), "")).status_code

    return set(await asyncio.gather(*map(answer, events)))


if __name__ == "__main__":
    events = json.loads(Path(sys.argv[2]).read_text())
    random.Random(int(sys.argv[1])).shuffle(events)
    codes = asyncio.run(answer_all(events))
    sys.exit(0 if codes == {200} else f"answered with {codes}")
