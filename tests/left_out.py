"""A pytest plugin that lists at the end which tests this machine could not run, and why.

Without a browser the exit status is 1, unless --without-browser was given or Playwright has no build for this kind of
machine. In CI, a missing browser fails the run unless the option was given, and a missing nginx always does.
"""

import os
from collections import Counter
from collections.abc import Generator, Mapping
from functools import cache
from pathlib import Path

import pytest

from tests import chromium

OPTION = "--without-browser"
BROWSER = "browser tests"
LEFT_OUT = pytest.StashKey[Counter[str]]()

problem = cache(chromium.problem)  # cached, because each browser test calls it


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(OPTION, action="store_true", help="leave the browser tests out, without failing for it")


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Ignore browser tests if there is no browser, because their modules import Playwright."""
    return True if collection_path.name == "browser" and not chromium.possible() else None


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("browser"):
        if item.config.getoption(OPTION):
            pytest.skip(f"{BROWSER}: {OPTION}")
        if problem():
            pytest.skip(f"{BROWSER}: {problem()}")


def counted(config: pytest.Config) -> Counter[str]:
    """Return how many tests were skipped for each reason."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    reports = reporter.stats.get("skipped", []) if reporter else []
    reasons = Counter(report.longrepr[2].removeprefix("Skipped: ") for report in reports)
    if not chromium.possible():
        reasons[f"{BROWSER}: {problem()}"] = 0  # not collected, so not counted
    return reasons


def failure(left_out: Mapping[str, int], environment: Mapping[str, str], *, asked: bool, possible: bool) -> str:
    """Return why a run that left these tests out fails, or an empty string if it may pass.

    `asked` says whether --without-browser was given, `possible` whether this machine can have a browser.
    """
    in_ci = environment.get("CI") == "true"
    browser = any(reason.startswith(BROWSER) for reason in left_out)
    if browser and not asked and (possible or in_ci):
        return f"Failed because the browser is missing: install it as told above, or say {OPTION}."
    if in_ci and any(reason.startswith("no nginx") for reason in left_out):
        return "Failed because nginx is missing, which CI has to have."
    return ""


def why_it_fails(config: pytest.Config) -> str:
    asked, left_out = config.getoption(OPTION), config.stash[LEFT_OUT]
    return failure(left_out, os.environ, asked=asked, possible=chromium.possible())


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    if hasattr(session.config, "workerinput"):  # a test process of xdist; its parent lists and decides
        return
    session.config.stash[LEFT_OUT] = counted(session.config)
    if session.exitstatus == pytest.ExitCode.OK and why_it_fails(session.config):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> Generator[None]:
    """Print the list after pytest's own summaries, so that it stands at the end of the output."""
    yield
    if left_out := config.stash[LEFT_OUT]:
        terminalreporter.section(f"LEFT OUT: {left_out.total()} tests", yellow=True, bold=True)
        for reason, number in left_out.most_common():
            terminalreporter.line(f"{number or 'all':>5}  {reason}", yellow=True)
        if why := why_it_fails(config):
            terminalreporter.line(why, red=True, bold=True)
