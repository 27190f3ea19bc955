"""A page in a real Chromium that writes down what its scripts and its reader were told."""

from typing import Any, cast

from playwright.sync_api import BrowserContext, CDPSession, expect

from tests.faults.tab import Statuses

OBSERVE = """
window.observed = {seqs: [], toasts: [], loads: Number(sessionStorage.loads ?? 0) + 1};
sessionStorage.loads = observed.loads;
document.addEventListener("payment:updated", (event) => observed.seqs.push(event.detail.seq));
new MutationObserver((records) => {
  const toasts = records.map(({ target }) => target).filter((target) => target.matches("payment-toast[shown]"));
  observed.toasts.push(...toasts.map((toast) => toast.dataset.change));
}).observe(document, { subtree: true, attributeFilter: ["shown"] });
"""
LOOK = """() => ({
  ...observed,
  cursor: Number(document.querySelector("#live-cursor")?.value ?? -1),
  state: document.documentElement.dataset.live,
  statuses: [...document.querySelectorAll(".payment-status")].map((each) => [each.id, each.dataset]),
  changes: [...document.querySelectorAll(".timeline li")].map((item) => item.id),
})"""


class Screen:
    """`look()` is what it shows and what it was told: cursor, state, statuses, changes, seqs, toasts, loads."""

    def __init__(self, context: BrowserContext, feed: str, path: str, reference: str = "") -> None:
        self.feed, self.path, self.reference = feed, path, reference  # of the one appointment that it is about
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
        """Hidden and frozen, as Chromium does with tabs in the background: no timer runs, nothing is received."""
        self._devtools.send("Page.setWebLifecycleState", {"state": "frozen"})

    def wake(self) -> None:
        self._devtools.send("Page.setWebLifecycleState", {"state": "active"})
        self._devtools.send("Page.bringToFront")
