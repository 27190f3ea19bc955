"""Measures how fast the webhook answers, also during a flood of forged events and while Redis or Stripe fails.

    .venv/bin/python -m tests.inputs.stress [--seconds 20]

It starts a site with one daphne, PostgreSQL and Redis, and posts 20 events a second in four parts: without
disturbance, with 200 forged events a second added, with Redis frozen, and with Stripe's API down. It prints the figures
and doesn't check the targets: a 99th percentile of at most 500 ms in the first part and 2 s in the others, and no row
left by a forged event.
"""

import argparse
import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import aiohttp
import django
import psycopg

os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
django.setup()

from payments_site.demo.process import HOST, Process  # noqa: E402
from tests import services  # noqa: E402
from tests.clinic import Clinic  # noqa: E402
from tests.live_site import LiveSite  # noqa: E402
from tests.payments.stripe_story import sign  # noqa: E402

EVENTS, FORGED = 20, 200  # a second
Answers = list[tuple[int, float]]  # (status, seconds)
Sign = Callable[[str], str]
ROWS = "SELECT (SELECT count(*) FROM clinic_payments_eventreceipt), (SELECT count(*) FROM djstripe_webhookeventtrigger)"


class Load:
    def __init__(self, clinic: Clinic, client: aiohttp.ClientSession) -> None:
        self.clinic, self.client = clinic, client
        self.url = f"http://{HOST}:{clinic.site.server.port}/stripe/webhook/"
        self.secret = clinic.site.settings["STRIPE_WEBHOOK_SECRET"]

    async def post(self, body: str, signature: str, answers: Answers) -> None:
        started = time.perf_counter()
        headers = {"Stripe-Signature": signature, "Content-Type": "application/json"}
        async with self.client.post(self.url, data=body, headers=headers) as answer:
            await answer.read()
        answers.append((answer.status, time.perf_counter() - started))

    async def events(self, seconds: float, answers: Answers) -> None:
        payments = [(patient, number) for patient in range(len(self.clinic.patients)) for number in range(10)]
        bodies = [
            json.dumps(self.clinic.story(*payments[n % len(payments)]).failed()) for n in range(int(seconds * EVENTS))
        ]
        await self._steadily(EVENTS, bodies, lambda body: sign(body, self.secret), answers)

    async def forged(self, seconds: float, answers: Answers) -> None:
        body = json.dumps(self.clinic.story().completed()) + " " * 20_000
        await self._steadily(FORGED, [body] * int(seconds * FORGED), lambda body: sign(body, "whsec_mine"), answers)

    async def _steadily(self, rate: int, bodies: list[str], signature: Sign, answers: Answers) -> None:
        start = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for number, body in enumerate(bodies):
                await asyncio.sleep(max(0, start + number / rate - time.perf_counter()))
                group.create_task(self.post(body, signature(body), answers))


def told(name: str, answers: Answers) -> str:
    times = sorted(1000 * seconds for _, seconds in answers)
    statuses = sorted({status for status, _ in answers})
    figures = {"median": statistics.median(times), "p99": times[int(len(times) * 0.99)], "longest": times[-1]}
    said = ", ".join(f"{figure} {value:.0f} ms" for figure, value in figures.items())
    return f"{name}: {len(times)} answered {statuses}, {said}"


async def measure(clinic: Clinic, redis: Process, database: str, seconds: float) -> list[str]:
    """Post events for `seconds` in each of the four situations that the module describes; return the lines to print."""
    with psycopg.connect(database, autocommit=True) as rows:
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(60)) as client:
            load = Load(clinic, client)
            warm: Answers = []
            await load.events(2, warm)
            alone: Answers = []
            await load.events(seconds, alone)
            before = rows.execute(ROWS).fetchone()
            under: Answers = []
            forged: Answers = []
            await asyncio.gather(load.events(seconds, under), load.forged(seconds, forged))
            after = rows.execute(ROWS).fetchone()
            frozen: Answers = []
            redis.freeze()
            try:
                await load.events(seconds, frozen)
            finally:
                redis.thaw()
            down: Answers = []
            clinic.site.sandbox.kill()
            await load.events(seconds, down)
    assert before
    assert after
    written = after[0] - before[0] - len(under)
    return [
        told(f"{EVENTS} events/s alone", alone),
        told(f"{EVENTS} events/s under forged ones", under),
        told(f"{FORGED} forged/s", forged),
        told(f"{EVENTS} events/s with Redis frozen", frozen),
        told(f"{EVENTS} events/s with the API down", down),
        f"rows that forged ones left: {written} receipts, {after[1] - before[1] - len(under)} deliveries",
    ]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    options.add_argument("--seconds", type=float, default=20, help="of each part (20)")
    seconds = options.parse_args().seconds
    with ExitStack() as stack:
        server, redis = stack.enter_context(services.postgres()), stack.enter_context(services.redis())
        if redis.process is None:
            sys.exit("stress: TEST_REDIS_URL names a server that isn't ours to freeze; unset it")
        database = server.database_url(server.create_database())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="stress-")))
        site = LiveSite(folder, DATABASE_URL=database, REDIS_URL=redis.url, LOG_LEVEL="WARNING")
        site.make_database()
        stack.callback(site.stop)
        site.start()
        lines = asyncio.run(measure(Clinic(site, patients=5, each=10), redis.process, database, seconds))
    print("\n".join(lines))  # noqa: T201


if __name__ == "__main__":
    main()
