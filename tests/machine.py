"""`python -m tests.machine [--without-browser]` installs the programs that the tests need, if the user is allowed to.

As root on Debian it installs Chromium, and in CI also nginx; otherwise it downloads Playwright's Chromium. A test run
lists at its end what is still missing.
"""

import os
import shutil
import subprocess
import sys

import pytest

from tests import chromium


def needs(program: str, package: str) -> pytest.MarkDecorator:
    """Return the pytest mark that skips tests where `program`, part of the Debian package `package`, is missing."""
    return pytest.mark.skipif(not shutil.which(program), reason=f"no {program}. As root: apt-get install {package}")


def missing_packages(*, browser: bool) -> list[str]:
    """Return the Debian packages to install: in CI nginx, and if `browser`, what browser tests need; only missing ones.

    Outside CI nginx is left out, because Debian would start it on port 80 of a developer's machine.
    """
    packages = ["nginx-light"] if os.environ.get("CI") and not shutil.which("nginx") else []
    if browser and (lacks := chromium.lacking()):
        packages += [*lacks, "fonts-liberation"]
    return packages


def apt_get_install(packages: list[str]) -> None:
    print(f"tests: installing {' '.join(packages)} with apt-get, half a minute", flush=True)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update"], ["install", "--no-install-recommends", *packages]):
        subprocess.run(["apt-get", "-qq", "-o", "Dpkg::Use-Pty=0", *command], check=False, env=environment,
                       stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)  # fmt: skip


def playwright_install(*options: str) -> None:
    print("tests: downloading Chromium with Playwright", flush=True)
    command = [*chromium.PLAYWRIGHT_INSTALL, *options]
    if subprocess.run(command, check=False, stdin=subprocess.DEVNULL, capture_output=True).returncode:
        print("tests: Playwright could not download it", flush=True)


def main(*arguments: str) -> None:
    browser, root = "--without-browser" not in arguments and chromium.possible(), os.geteuid() == 0
    if root and chromium.is_debian() and (packages := missing_packages(browser=browser)):
        apt_get_install(packages)
    if browser and not chromium.executable() and list(chromium.lacking()) == [chromium.PACKAGE]:
        playwright_install(*["--with-deps"] * root)  # only the browser is missing: Playwright's driver starts


if __name__ == "__main__":
    main(*sys.argv[1:])
