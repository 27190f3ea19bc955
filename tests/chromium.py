"""Finds a Chromium for the browser tests, or installs one: `python -m tests.chromium`."""

import ctypes
import os
import shutil
import subprocess
import sys
from pathlib import Path

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


def executable() -> str | None:
    """$CHROMIUM, or the machine's own; None leaves the choice to Playwright, which may have installed one."""
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)


def playwright_has_one() -> bool:
    cache = Path(os.environ.get("PLAYWRIGHT_BROWSERS_PATH") or Path.home() / ".cache" / "ms-playwright")
    return any(cache.glob("chromium*/INSTALLATION_COMPLETE"))


def missing_packages() -> list[str]:
    """Debian packages that the browser tests need and this machine lacks."""
    missing = [] if executable() or playwright_has_one() else ["chromium-headless-shell", "fonts-liberation"]
    try:
        ctypes.CDLL("libatomic.so.1")
    except OSError:
        missing.append("libatomic1")  # Playwright's driver is linked with it
    return missing


def apt_get_install(packages: list[str]) -> bool:
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        return False
    print(f"tests: installing {' '.join(packages)} with apt-get, half a minute", flush=True)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    install = ["apt-get", "install", "-qq", "-o", "Dpkg::Use-Pty=0", "--no-install-recommends", *packages]
    return all(
        subprocess.run(command, check=False, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        .returncode == 0
        for command in (["apt-get", "update", "-qq"], install)
    )  # fmt: skip


def playwright_install() -> bool:
    print("tests: installing Chromium with Playwright", flush=True)
    command = [sys.executable, "-m", "playwright", "install", "chromium"]
    return subprocess.run(command, check=False, stdin=subprocess.DEVNULL).returncode == 0


def main() -> int:
    missing = missing_packages()
    if not missing or apt_get_install(missing) or ("fonts-liberation" in missing and playwright_install()):
        return 0
    print(
        f"tests: the browser tests need {', '.join(missing)}. As root: apt-get install {' '.join(missing)}; "
        "or set CHROMIUM to a Chromium or Chrome; or leave them out with ./run test fast.",
        file=sys.stderr,
    )
    return 1


if __name__ == "__main__":
    sys.exit(main())
