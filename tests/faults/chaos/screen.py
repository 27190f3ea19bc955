"""A page in Chromium that records what its scripts receive and what it shows."""

from typing import Any, cast

from playwright.sync_api import BrowserContext, CDPSession, expect

from tests.faults.tab import Statuses

OBSERVE = """
window.observed = {seqs: [], toasts: [], nap: 0, loads: Number(sessionStorage.loads ?? 0) + 1};
let awake = Date.now();
setInterval(() => ([observed.nap, awake] = [Math.max(observed.nap, Date.now() - awake), Date.now()]), 100);
sessionStorage.loads = observed.loads;
document.addEventListener("payment:updated", (event) => observed.seqs.push(event.detail.seq));
new MutationObserver((records) => {
  const toasts = records.map(({ target }) => target).filter((target) => target.matches("payment-toast[shown]"));
  observed.toasts.push(...toasts.map((toast) => toast.id));
}).observe(document, { subtree: true, attributeFilter: ["shown"] });
"""
HIDE = """() => {
  Object.defineProperty(document, "hidden", { value: true, configurable: true });
  document.dispatchEvent(new Event("visibilitychange"));
}"""
SHOW = """() => {
  delete document.hidden;
  document.dispatchEvent(new Event("visibilitychange"));
}"""
LOOK = """() => ({
  ...observed,
  cursor: Number(document.querySelector("#live-cursor")?.value ?? -1),
  state: document.documentElement.dataset.live,
  statuses: [...document.querySelectorAll(".payment-status")].map((each) => [each.id, each.dataset]),
  changes: [...document.querySelectorAll(".timeline li")].map((item) => item.id),
})"""


class Screen:
    """A page in Chromium that records what it receives and shows. `reference` names its only appointment, if any.

    `look()` returns a dict. What the page shows now: `cursor` (the number of its newest feed entry), `statuses`,
    `changes` and the connection's `state`. Since it was loaded: `seqs` (the numbers of received entries), `toasts`,
    `nap` (the longest time in ms without a timer). `loads` counts how often it was loaded.
    """

    def __init__(self, context: BrowserContext, feed: str, path: str, reference: str = "") -> None:
        self.feed, self.path, self.reference = feed, path, reference
        self.context = context
        self.page = context.new_page()
        self.page.add_init_script(OBSERVE)
        self.page.goto(path)
        expect(self.page.locator("html")).to_have_attribute("data-live", "connected")
        self._devtools: CDPSession = context.new_cdp_session(self.page)

    def look(self) -> dict[str, Any]:
        return cast(dict[str, Any], self.page.evaluate(LOOK))

    @property
    def cursor(self) -> int:
        return int(self.look()["cursor"])

    @property
    def statuses(self) -> Statuses:
        shown = self.look()["statuses"]
        return {key.removeprefix("payment-"): (data["status"], int(data["version"])) for key, data in shown}

    def sleep(self) -> None:
        """Hide and freeze the page like a background tab: no timer runs and no frame is handled.

        Headless Chromium does neither: document.hidden is overridden, and the debugger pauses the page's scripts.
        """
        self.page.evaluate(HIDE)
        self._devtools.send("Debugger.enable")
        self._devtools.send("Debugger.pause")

    def wake(self) -> None:
        self._devtools.send("Debugger.disable")
        self.page.evaluate(SHOW)
