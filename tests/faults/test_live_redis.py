"""Tests with two web processes while Redis dies, freezes or refuses: pages become slower, but never wrong."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import pytest
from websockets.sync.client import ClientConnection

from payments_site.demo.process import Process
from tests import services
from tests.clinic import Clinic, open_socket, told
from tests.faults.redis_orders import admit, empty, fill, refuse
from tests.live_site import LiveSite
from tests.waits import PATIENCE

pytestmark = [pytest.mark.faults, pytest.mark.redis, pytest.mark.timeout(240)]
MakeSite = Callable[..., LiveSite]

PUSHED = 1.0  # seconds; less than the interval between a process's own database queries
HUNG = 10.0  # seconds; an answer that waited for a frozen Redis would take longer


@pytest.fixture
def own_redis() -> Iterator[Process]:
    """Start a Redis server for this test alone, which may break it, and yield the server's process."""
    with services.redis() as server:
        if server.process is None:
            pytest.skip("TEST_REDIS_URL names a server that isn't ours to kill")
        yield server.process


def redis_url(redis: Process) -> str:
    return f"redis://127.0.0.1:{redis.port}/0"


class Day:
    """A site with two web processes: a staff page is connected to the first, and webhooks go to the second."""

    def __init__(self, site: LiveSite) -> None:
        self.other = site.start_another_server()
        self.clinic = Clinic(site, each=40)
        self.seq, self.told = self.clinic.head(self.clinic.staff[0]), 0

    @contextmanager
    def open(self) -> Iterator[ClientConnection]:
        with open_socket(self.clinic.site, self.clinic.staff[0], self.seq) as page:
            assert told(page)["t"] == "hello"
            yield page

    def seconds_until_told(self, page: ClientConnection) -> float:
        """Post an event to the second process and return the seconds until `page`, on the first, receives its entry."""
        began = time.monotonic()
        assert self.clinic.tell(self.clinic.story(payment=self.told).completed(), self.other) == 200
        answered = time.monotonic() - began
        assert answered < HUNG, f"the webhook waited {answered:.1f} s for Redis"
        self.seq, self.told = self.seq + 1, self.told + 1
        while True:
            message = told(page)
            if "html" in message:
                assert (message["seq"], message["prev"]) == (self.seq, self.seq - 1)
                return time.monotonic() - began

    def pushes_again(self, page: ClientConnection, within: float = PATIENCE) -> None:
        deadline = time.monotonic() + within
        while min(self.seconds_until_told(page) for _ in range(2)) > PUSHED:
            assert time.monotonic() < deadline, "Redis is back, but pushes are not"


@pytest.mark.nightly
def test_pages_stay_right_while_redis_dies_freezes_refuses_or_is_full(make_site: MakeSite, own_redis: Process) -> None:
    day = Day(make_site(postgres=True, REDIS_URL=redis_url(own_redis)))
    with day.open() as page:
        day.pushes_again(page)
        port = own_redis.port
        for fault, repair in (
            (own_redis.kill, own_redis.start),
            (own_redis.freeze, own_redis.thaw),
            (partial(refuse, port), partial(admit, port)),
            (partial(fill, port), partial(empty, port)),
        ):
            fault()
            for _ in range(3):  # only the process's own database queries bring news to this page
                day.seconds_until_told(page)
            repair()
            day.pushes_again(page)
        day.clinic.site.server.log()
    for server in (day.clinic.site.server, *day.clinic.site.others):
        assert server.running


@pytest.mark.nightly
def test_a_redis_that_is_down_at_the_start_is_found_later(make_site: MakeSite, own_redis: Process) -> None:
    own_redis.kill()
    day = Day(make_site(postgres=True, REDIS_URL=redis_url(own_redis)))
    with day.open() as page:
        day.seconds_until_told(page)
        own_redis.start()
        day.pushes_again(page)


@pytest.mark.nightly
def test_a_socket_that_hears_nothing_for_a_minute_stays_and_is_still_pushed_to(
    make_site: MakeSite, own_redis: Process
) -> None:
    day = Day(make_site(postgres=True, REDIS_URL=redis_url(own_redis)))
    with day.open() as page:
        beats = [told(page) for _ in range(6)]
        assert {beat["t"] for beat in beats} == {"hb"}
        day.pushes_again(page)
