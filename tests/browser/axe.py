"""Runs the accessibility checker axe in a page."""

from axe_playwright_python.base import AXE_SCRIPT, AxeResults
from playwright.sync_api import Page

RUN = "(options) => axe.run(options).then(({ violations }) => ({ violations }))"


def violations(page: Page, *, contrast: bool = True) -> str:
    """Return axe's report of the accessibility faults that it finds in the page, or an empty string.

    `contrast` says whether axe also looks at the contrast of colors, which takes three quarters of its time.
    """
    if page.evaluate("typeof axe") == "undefined":  # a page keeps axe until another page is loaded
        page.evaluate(AXE_SCRIPT)
    # Only the violations, because it takes longer to send all of axe's results than to load axe.
    options = {"resultTypes": ["violations"], "rules": {"color-contrast": {"enabled": contrast}}}
    found = AxeResults(page.evaluate(RUN, options))
    return str(found.generate_report()) if found.violations_count else ""
