"""Tests that a page polls every 30 s unless its WebSocket is healthy, even if its JavaScript module does not load."""

import datetime
import re
from itertools import pairwise

from playwright.sync_api import Page, Route, WebSocketRoute, expect

from payments.models import Payment
from tests.browser.conftest import NewContext
from tests.browser.pages import POLL, browser_of, expect_live, expect_status, go_live, prove_current
from tests.clinic import Clinic, Person
from tests.waits import wait_until

RECORD = """
  [window.polls, window.answers] = [[], 0];
  document.addEventListener("htmx:beforeSend", () => polls.push(Date.now()));
  document.addEventListener("htmx:afterRequest", () => (answers += 1));
"""


def counted_polls(clinic: Clinic) -> int:
    """Return how many polls the server has received, as its metrics say."""
    metrics = clinic.get("/metrics", clinic.staff[0]).read().decode()
    [count] = re.findall(r"^payments_live_polls_total (\S+)", metrics, re.M)
    return int(float(count))


def refuse(socket: WebSocketRoute) -> None:
    """Close the socket at once, as a proxy without support for WebSockets does."""
    socket.close()


def stop_clock(page: Page) -> None:
    """Stop the page's clock, so that only Playwright's `clock.run_for` moves it and a slow machine has no effect."""
    page.clock.install()
    page.clock.pause_at(datetime.datetime.now(datetime.UTC) + datetime.timedelta(minutes=5))


def pass_seconds(page: Page, seconds: int) -> None:
    """Move the page's clock in steps of 1 s, and wait after each step until the page's requests are answered."""
    for _ in range(seconds):
        page.clock.run_for(1000)
        wait_until(lambda: page.evaluate("answers === polls.length"), "the page's poll is answered")


def test_a_healthy_page_never_polls(clinic: Clinic, patient: Person, new_context: NewContext) -> None:
    page = browser_of(patient, clinic, new_context).new_page()
    stop_clock(page)
    go_live(page, "/appointments/")
    before = counted_polls(clinic)
    for _ in range(20):  # 100 s on the page's clock, three of htmx's polling intervals
        page.clock.run_for(5000)
        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")  # makes the page check its socket
        proven = "document.querySelector('live-source').provenAt === Date.now()"
        wait_until(lambda: page.evaluate(proven), "the socket is proved")  # noqa: B023 called at once
    expect_live(page)
    assert counted_polls(clinic) == before


def test_without_websockets_a_page_polls_every_30_seconds(
    clinic: Clinic, patient: Person, payment: Payment, new_context: NewContext
) -> None:
    context = browser_of(patient, clinic, new_context)
    context.route_web_socket(re.compile("/ws/"), refuse)
    page = context.new_page()
    page.add_init_script(RECORD)
    before = counted_polls(clinic)
    stop_clock(page)
    page.goto("/appointments/")
    for _ in range(90):  # the browser refuses each socket at an unpredictable moment of the page's clock
        if page.locator("html[data-live=polling]").count():
            break
        pass_seconds(page, 1)
    expect_live(page, "polling")
    pass_seconds(page, 5)  # until the page says so
    expect(page.locator("[data-when=polling]")).to_be_visible()
    assert clinic.tell(clinic.story().completed()) == 200
    pass_seconds(page, 140)
    expect_status(page, payment, "paid")
    polls = page.evaluate("polls")
    between = [(later - earlier) / 1000 for earlier, later in pairwise(polls)][-3:]
    assert all(27 <= seconds <= 33 for seconds in between), polls
    assert counted_polls(clinic) - before == len(polls)


def test_a_poll_that_is_never_answered_does_not_stop_the_next(
    clinic: Clinic, patient: Person, new_context: NewContext
) -> None:
    page = browser_of(patient, clinic, new_context).new_page()
    go_live(page, "/appointments/")
    asked: list[Route] = []
    page.route(re.compile(POLL), lambda route: asked.append(route), times=1)
    page.get_by_role("link", name="Actualiser").click()
    with page.expect_event("requestfailed", timeout=60_000):
        pass
    assert len(asked) == 1
    prove_current(page)


def test_if_the_module_never_loads_htmx_polls_alone_and_repeats_nothing(
    clinic: Clinic, patient: Person, payment: Payment, new_context: NewContext
) -> None:
    context = browser_of(patient, clinic, new_context)
    context.route(re.compile("/static/payments/js/"), lambda route: route.abort())
    page = context.new_page()
    before = counted_polls(clinic)
    stop_clock(page)
    page.goto(f"/appointments/{patient.references[0]}/")
    assert clinic.tell(clinic.story().completed()) == 200
    for _ in range(3):
        with page.expect_response(re.compile(POLL)):
            page.clock.run_for(30_500)
    expect_status(page, payment, "paid")
    expect(page.locator(".timeline li[data-status=paid]")).to_have_count(1)
    assert counted_polls(clinic) - before == 3
