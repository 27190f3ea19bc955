"""The command line for people, the locks it installs and the checks it runs."""

import re
import runpy
import subprocess
import tomllib
from io import BytesIO
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from payments_site.demo.site import ROOT


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([ROOT / "run", *arguments], capture_output=True, text=True, check=False, timeout=300)


def test_run_alone_prints_help() -> None:
    done = run()
    assert done.returncode == 0
    assert all(f"\n  {command} " in done.stdout for command in ("demo", "test", "check", "manage", "lock"))


def test_an_unknown_command_prints_help_and_fails() -> None:
    done = run("deploy-to-the-moon")
    assert done.returncode == 1
    assert "usage: ./run" in done.stdout


def requirements(*groups: str) -> list[Requirement]:
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text())
    lines = [line for group in groups for line in pyproject["dependency-groups"][group] if isinstance(line, str)]
    return [Requirement(line) for line in [*pyproject["project"]["dependencies"], *lines]]


@pytest.mark.parametrize(
    ("lock", "groups"), [("requirements.lock", ["sandbox"]), ("requirements-dev.lock", ["sandbox", "test", "dev"])]
)
def test_the_lock_pins_every_requirement_with_a_hash(lock: str, groups: list[str]) -> None:
    entries = re.findall(r"^([\w.-]+)==(\S+)(.*\n(?:    --hash=sha256:\w{64}.*\n?)+)", (ROOT / lock).read_text(), re.M)
    pinned = {canonicalize_name(name): version for name, version, _hashes in entries}
    for requirement in requirements(*groups):
        version = pinned.get(canonicalize_name(requirement.name), "nothing")
        assert version in requirement.specifier, f"{lock} has {version} for {requirement}; ./run lock"


def test_both_locks_agree() -> None:
    pins = [
        set(re.findall(r"^\S+==\S+", (ROOT / f"requirements{kind}.lock").read_text(), re.M)) for kind in ("", "-dev")
    ]
    assert pins[0] <= pins[1]


def test_the_readme_says_what_each_dependency_is_for() -> None:
    table = (ROOT / "README.md").read_text().split("## Built with")[1].split("\n## ")[0]
    cells = re.findall(r"^\| *([^|]+?) *\|", table, re.M)
    named = {name.split()[0].lower() for cell in cells for name in cell.split(", ")}
    vendored = {"pico", "lucide"}
    assert named - {"package", "---"} == vendored | {requirement.name for requirement in requirements("sandbox")}


@pytest.mark.parametrize(
    ("words", "lock"),
    [("demo --port 8001", "RUNTIME"), ("demo --workers 3", "DEV"), ("demo --workers=3", "DEV"), ("test fast", "DEV")],
)
def test_what_needs_servers_installs_the_lock_that_brings_them(words: str, lock: str) -> None:
    run = runpy.run_path(str(ROOT / "run"))
    assert run["lock_for"](*words.split()) == run[lock]


def script(name: str) -> dict[str, Any]:
    return runpy.run_path(str(ROOT / ".ci" / name))


def test_texts_of_templates_are_found_on_their_lines() -> None:
    template = b"""{% load i18n %}
    <a title="{% translate 'Refresh' %}">it's (</a>
      {% blocktranslate count n=2 %}One payment{% plural %}{{ n }} payments{% endblocktranslate %}
  {% translate "May" context "month" %}"""
    keywords = {"gettext": None, "ngettext": (1, 2), "pgettext": ((1, "c"), 2)}
    extract = script("messages.py")["extract_template"]
    found = [(line, name, text) for line, name, text, _ in extract(BytesIO(template), keywords, [], {})]
    assert found == [
        (2, "gettext", "Refresh"),
        (3, "ngettext", ("One payment", "%(n)s payments", None)),
        (4, "pgettext", ("month", "May")),
    ]


@pytest.mark.parametrize("host", ["files.python-hosted.org", "registry.npm-js.org", "py-pi.org", "deb.debi-an.org"])
def test_package_registry_hosts_are_recognised(host: str) -> None:
    assert script("check.py")["REGISTRIES"].search(f"see https://{host.replace('-', '')}/simple")
