"""Runs the accessibility checker axe in a page."""

from axe_playwright_python.base import AXE_SCRIPT, AxeResults
from playwright.sync_api import Page

# Only the violations, because it takes longer to send all of axe's results than to load axe.
RUN = "axe.run({ resultTypes: ['violations'] }).then(({ violations }) => ({ violations }))"


def violations(page: Page) -> str:
    """Return axe's report of the accessibility faults that it finds in the page, or an empty string."""
    if page.evaluate("typeof axe") == "undefined":  # a page keeps axe until another page is loaded
        page.evaluate(AXE_SCRIPT)
    found = AxeResults(page.evaluate(RUN))
    return str(found.generate_report()) if found.violations_count else ""
