"""A pytest plugin that lists, at the end of a run, how many tests this machine could not run, and why.

Skipped browser tests make the exit status 1, unless --without-browser was given or, outside CI, Playwright has no build
for this kind of machine. In CI, skipped nginx tests make it 1, too.
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
    """Ignore the folder of browser tests if Playwright isn't installed, because their modules import Playwright."""
    return True if collection_path.name == "browser" and not chromium.possible() else None


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("browser"):
        if item.config.getoption(OPTION):
            pytest.skip(f"{BROWSER}: {OPTION}")
        if problem():
            pytest.skip(f"{BROWSER}: {problem()}")


def counted(config: pytest.Config) -> Counter[str]:
    """Return {reason: number of skipped tests}.

    Without Playwright, the browser tests have the number 0, because pytest can't import and count them.
    """
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    reports = reporter.stats.get("skipped", []) if reporter else []
    reasons = Counter(report.longrepr[2].removeprefix("Skipped: ") for report in reports)
    if not chromium.possible():
        reasons[f"{BROWSER}: {problem()}"] = 0  # their number is unknown, because they are not collected
    return reasons


def failure(left_out: Mapping[str, int], environment: Mapping[str, str], *, asked: bool, possible: bool) -> str:
    """Return why the run has to fail because of skipped tests, or an empty string if it may pass.

    `left_out` has the numbers of skipped tests by reason, `environment` is os.environ. `asked` says whether
    --without-browser was given, `possible` whether Playwright is installed.
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
    if hasattr(session.config, "workerinput"):  # an xdist worker; the main process lists and decides
        return
    session.config.stash[LEFT_OUT] = counted(session.config)
    if session.exitstatus == pytest.ExitCode.OK and why_it_fails(session.config):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> Generator[None]:
    """Print the list of skipped tests after pytest's own summaries, so that the list ends the output."""
    yield
    if left_out := config.stash[LEFT_OUT]:
        terminalreporter.section(f"LEFT OUT: {left_out.total()} tests", yellow=True, bold=True)
        for reason, number in left_out.most_common():
            terminalreporter.line(f"{number or 'all':>5}  {reason}", yellow=True)
        if why := why_it_fails(config):
            terminalreporter.line(why, red=True, bold=True)
