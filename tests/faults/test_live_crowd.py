"""Tests with many pages: a thousand reconnect after losing their server; patients don't get each other's entries."""

import asyncio
import json
import resource
import statistics
import time
from collections.abc import Callable
from contextlib import ExitStack

import pytest

from tests.clinic import Clinic, open_socket, told
from tests.faults.tab import Tab
from tests.live_site import LiveSite
from tests.waits import until

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]
MakeSite = Callable[..., LiveSite]

CROWD = 1000
BACK_WITHIN = 60.0  # seconds after the server listens again; a machine that isn't busy needs far less


@pytest.mark.nightly
async def test_a_thousand_pages_that_lose_their_server_all_come_back_with_the_newest_number(
    make_site: MakeSite,
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 8192)), hard))
    site = await asyncio.to_thread(make_site, postgres=True, LOG_LEVEL="WARNING")
    clinic = await asyncio.to_thread(Clinic, site, staff=60, each=2)  # 60: nobody reaches the limit of sockets a person
    head = await asyncio.to_thread(clinic.head, clinic.staff[0])
    tabs = [Tab(site.url, clinic.staff[number % 60], head) for number in range(CROWD)]
    running = []
    for tab in tabs:
        running.append(asyncio.create_task(tab.live()))
        await asyncio.sleep(0.01)
    await until(lambda: all(tab.greeted_at for tab in tabs), "all pages are greeted", 120)
    site.kill()
    await until(lambda: not any(tab.greeted_at for tab in tabs), "all pages notice the end")
    for tab in tabs:
        tab.tries = 0
    await asyncio.to_thread(site.server.start)
    listening = time.monotonic()
    await asyncio.to_thread(clinic.tell_until_taken, clinic.story().completed())
    back = lambda: all(tab.told == [head + 1] and tab.greeted_at for tab in tabs)  # noqa: E731
    await until(back, "all pages are back with the newest number", 120)
    returned = sorted(tab.greeted_at - listening for tab in tabs)
    print(  # noqa: T201 a figure to read
        f"{CROWD} pages back: median {statistics.median(returned):.1f} s, last {returned[-1]:.1f} s; "
          f"handshakes {sum(tab.tries for tab in tabs)}")  # fmt: skip
    assert returned[-1] < BACK_WITHIN
    asked = [tab.asked_at - listening for tab in tabs]
    spread = [sum(1 for each in asked if second <= each < second + 1) for second in range(-1, 15)]
    assert max(spread) < CROWD * 0.7, spread
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)


def test_no_byte_of_another_patient_is_in_a_patients_frames(make_site: MakeSite) -> None:
    site = make_site()
    clinic = Clinic(site, staff=2, patients=2, each=6)
    people = [*clinic.patients, *clinic.staff]
    heard, heads = ["" for _ in people], [clinic.head(person) for person in people]
    with ExitStack() as stack:
        pages = [stack.enter_context(open_socket(site, *who)) for who in zip(people, heads, strict=True)]
        for number in range(6):
            for patient in range(2):
                assert clinic.tell(clinic.story(patient, number).completed()) == 200
        for index, page in enumerate(pages):
            while heard[index].count('"html"') < (6 if index < 2 else 12):
                heard[index] += json.dumps(told(page), ensure_ascii=False)
    for mine, theirs in ((0, 1), (1, 0)):
        other = clinic.patients[theirs]
        assert all(str(payment.public_id) in heard[mine] for payment in clinic.patients[mine].payments)
        for secret in (other.name, *other.references, *(str(payment.public_id) for payment in other.payments)):
            assert secret not in heard[mine]
            assert secret.lower() not in heard[mine].lower()
    for frames in heard:
        assert "Canary" not in frames  # everybody's family name
        assert "@" not in frames
    assert heard[2].count('"html"') == heard[3].count('"html"') == 12
