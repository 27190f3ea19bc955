"""Finds the Chromium for the browser tests, installed or downloaded by Playwright, and says why none can be used."""

import importlib.util
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Browser

NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PACKAGE = "chromium-headless-shell"  # in Debian
PLAYWRIGHT_INSTALL = [sys.executable, "-m", "playwright", "install", "--only-shell", "chromium"]


def executable() -> str | None:
    """Return the Chromium to run, $CHROMIUM or an installed one; None means that Playwright uses its own download."""
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)


@contextmanager
def running() -> "Iterator[Browser]":
    """Start Chromium, yield it as Playwright's Browser, and close it. Playwright can start only once in a process."""
    from playwright.sync_api import sync_playwright  # not at the top: some machines lack Playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable(), args=FLAGS)
        try:
            yield browser
        finally:
            browser.close()


def possible() -> bool:
    """Return whether Playwright is installed; pyproject.toml leaves it out on machines for which it has no wheel."""
    return importlib.util.find_spec("playwright") is not None


def downloaded() -> str | None:
    """Return the path of the Chromium that Playwright downloaded for its own release, or None if there is none."""
    told = subprocess.run([*PLAYWRIGHT_INSTALL, "--dry-run"], check=False, capture_output=True, text=True).stdout
    folders = [Path(line.strip()) for line in re.findall(r"Install location:(.*)", told)]
    return next((str(path) for folder in folders for path in folder.rglob("*headless*shell") if path.is_file()), None)


def refusal(program: str | Path) -> str:
    """Return why `program` doesn't start, e.g. a missing library, or an empty string if it starts."""
    try:
        ran = subprocess.run([program, "--version"], check=False, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    said = ran.stderr.strip().splitlines() or [f"exit status {ran.returncode}"]
    return said[-1] if ran.returncode else ""


def lacking() -> dict[str, str]:
    """Return the Debian packages that browser tests need but this machine lacks: {package: what fails without it}."""
    from playwright._impl._driver import compute_driver_executable  # not at the top: some machines lack Playwright

    lacks = {}
    if wrong := refusal(compute_driver_executable()[0]):
        lacks["libatomic1"] = f"Playwright's driver doesn't start: {wrong}"
    found = executable() or (None if lacks else downloaded())
    if found is None:
        lacks[PACKAGE] = "no Chromium"
    elif wrong := refusal(found):
        lacks[PACKAGE] = f"Chromium doesn't start: {wrong}"
    return lacks


def is_debian() -> bool:
    """Return whether this is Debian or a derivative; False on Ubuntu, whose Chromium snap Playwright can't start."""
    try:
        release = platform.freedesktop_os_release()
    except OSError:  # not Linux
        return False
    kinds = f"{release['ID']} {release.get('ID_LIKE', '')}".split()
    return "debian" in kinds and "ubuntu" not in kinds


def problem() -> str:
    """Return why no browser test can run here and the command that helps, or an empty string if they can run."""
    if not possible():
        return f"Playwright has no build for this machine ({sys.platform} on {platform.machine()})"
    lacks = lacking()
    if not lacks:
        return ""
    mend = shlex.join([sys.executable, "-m", "playwright", "install-deps", "chromium"])
    if is_debian():
        mend = f"apt-get install {' '.join([*lacks, 'fonts-liberation'])}"
    return f"{'; '.join(lacks.values())}. As root: {mend}"
