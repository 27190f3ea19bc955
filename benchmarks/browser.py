"""Measures the milliseconds until the page in Chromium shows a change, from posting the event and inside the page.

This module runs as `python -m benchmarks.browser` in its own process, because Playwright leaves an event loop running.
"""

import datetime
import http.client
import json
import subprocess
import sys
import time
from typing import Any
from urllib.parse import urlsplit

from benchmarks.blocks import NODE, SITE, Size, Values
from benchmarks.events import HOST, Post, post, session_key
from benchmarks.fill import DAYS_BACK, PER_DAY
from benchmarks.load import LoadError, percentile
from benchmarks.stack import Stack
from payments_site.demo.site import ROOT
from tests import chromium

CONNECTED = (
    "() => document.body.dataset.live === 'connected' || document.querySelector('live-source')?.connected === true"
)
# Runs before the page's own scripts, so that its listener is the first to hear of a message.
HEAR = """
  window.WebSocket = class extends WebSocket {
    constructor(...given) {
      super(...given);
      this.addEventListener("message", () => (window.heardAt = performance.timeOrigin + performance.now()));
    }
  };
"""
WATCH = """() => {
  const clock = () => performance.timeOrigin + performance.now(), waiting = new Map();
  const text = id => document.getElementById("payment-" + id)?.textContent;
  window.watchFor = id => { const before = text(id); waiting.set(id, { before }); return before !== undefined; };
  window.changeOf = id => new Promise(done => {
    const one = waiting.get(id);
    if (one.at) done([one.heard, one.at]);
    else { one.done = done; setTimeout(() => done([0, 0]), 5000); }
  });
  new MutationObserver(() => {
    for (const [id, one] of waiting)
      if (!one.at && text(id) !== one.before) {
        [one.heard, one.at] = [window.heardAt, clock()];
        one.done?.([one.heard, one.at]);
      }
  }).observe(document.body, { subtree: true, childList: true, characterData: true, attributes: true });
}"""


def wait_until_connected(page: Any, seconds: float = 15) -> None:
    deadline = time.monotonic() + seconds
    while not page.evaluate(CONNECTED):
        if time.monotonic() > deadline:
            raise LoadError(f"{page.url} did not connect in {seconds:g} s")
        time.sleep(0.1)


def clock_offset(page: Any) -> float:
    """Return by how many milliseconds the page's clock is ahead of this process's clock."""
    best = (1e9, 0.0)
    for _ in range(20):
        before = time.time()
        theirs = page.evaluate("() => performance.timeOrigin + performance.now()")
        after = time.time()
        best = min(best, (after - before, theirs - (before + after) * 500))
    return best[1]


def send(connection: http.client.HTTPConnection, sent: Post) -> float:
    """Send a webhook request, and return when it was sent (Unix seconds). Raises LoadError unless the status is 200."""
    connection.connect()
    at = time.time()
    connection.sock.sendall(sent.request)
    answer = http.client.HTTPResponse(connection.sock)
    answer.begin()
    answer.read()
    if answer.status != 200:
        raise LoadError(f"the event was answered with {answer.status}")
    return at


def measure(url: str, posts: list[Post]) -> list[tuple[float, float]]:
    """Show the page `url` in a browser, and post the events one after the other.

    Return for each event the milliseconds from the POST, and from the page's WebSocket message, until the document
    changed; both are 5000 if it didn't change in that time.
    """
    address = urlsplit(url)
    with chromium.running() as browser:
        context = browser.new_context()
        context.add_cookies([{"name": "sessionid", "value": session_key(1), "domain": HOST, "path": "/"}])
        page = context.new_page()
        page.add_init_script(HEAR)
        page.goto(url)
        wait_until_connected(page)
        page.evaluate(WATCH)
        offset, delays = clock_offset(page), list[tuple[float, float]]()
        for sent in posts:
            if not page.evaluate("id => watchFor(id)", sent.key):
                raise LoadError(f"payment {sent.key} is not on {url}")
            at = send(http.client.HTTPConnection(HOST, address.port, timeout=10), sent)
            heard, changed = page.evaluate("id => changeOf(id)", sent.key)
            delays.append((changed - offset - at * 1000, changed - heard) if changed else (5000, 5000))
            time.sleep(0.05)
    return delays


def browser(stack: Stack, name: str, size: Size, number: int) -> Values:
    """Measure the median milliseconds until Chromium's document shows a changed payment.

    They count from posting the webhook event (metric "p50") and from the WebSocket message about it ("message_p50").
    `name` is the server's name, and `number` is the round's number. Each round of each server uses another day's
    appointments, so that no earlier event has changed their payments.
    """
    target = stack.target(name)
    day = 1 + 2 * number + (name == SITE[1])
    if name == NODE:
        url = f"{target.url}/desk/?first={day * PER_DAY}"
    else:
        date = datetime.datetime.now(datetime.UTC).date() + datetime.timedelta(days=day - DAYS_BACK)
        url = f"{target.url}/desk/?day={date}"
    numbers = range(day * PER_DAY, day * PER_DAY + min(48, 3 + size.browser_events))
    asked = json.dumps([url, list(numbers), target.webhook, target.ports[0]])
    command = [sys.executable, "-m", "benchmarks.browser"]
    done = subprocess.run(
        command,
        input=asked,
        cwd=ROOT,
        timeout=180,
        check=False,
        text=True,
        capture_output=True,
    )
    if done.returncode:
        raise LoadError(done.stderr.strip().splitlines()[-1])
    posted, heard = zip(*json.loads(done.stdout)[3:], strict=True)
    return {"p50": percentile(list(posted), 0.5), "message_p50": percentile(list(heard), 0.5)}


if __name__ == "__main__":
    url, numbers, webhook, port = json.load(sys.stdin)
    print(json.dumps(measure(url, [post(number, webhook, port) for number in numbers])))
