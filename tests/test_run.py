"""Tests of ./run: its commands, the locks it installs and the checks it runs."""

import json
import os
import re
import runpy
import shutil
import subprocess
import sys
import tomllib
from io import BytesIO
from itertools import chain
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from payments_site.demo.site import ROOT
from tests import chromium, machine
from tests import left_out as left_out_plugin


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
    """Return what the site requires, with its extras, which both locks contain, and with these dependency groups."""
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text())
    project, extras = pyproject["project"], pyproject["project"]["optional-dependencies"].values()
    lines = [line for group in groups for line in pyproject["dependency-groups"][group] if isinstance(line, str)]
    return [Requirement(line) for line in [*project["dependencies"], *chain(*extras), *lines]]


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


@pytest.mark.parametrize("page", ["docs/packages.md", "docs/fr/packages.md"])
def test_the_handbook_says_what_each_dependency_is_for(page: str) -> None:
    table = (ROOT / page).read_text()
    cells = re.findall(r"^\| *([^|]+?) *\|", table, re.M)
    named = {name.split()[0].lower() for cell in cells for name in cell.split(", ")}
    vendored = {"pico", "lucide"}
    needed = {requirement.name for requirement in requirements("sandbox")}
    assert named - {"package", "paquet", "---"} == vendored | needed


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


def test_windows_is_told_to_use_wsl_before_anything_else() -> None:
    loaded = "import runpy, shutil, subprocess, sys"  # on Linux, where these find no Windows modules to import
    pretend = f"{loaded}; sys.platform = 'win32'; sys.modules['fcntl'] = None; sys.argv = ['run', 'demo']"
    start = f"{pretend}; runpy.run_path({str(ROOT / 'run')!r}, run_name='__main__')"
    done = subprocess.run([sys.executable, "-c", start], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert done.stderr == "run: Windows is not supported; run this inside WSL, where everything works as on Linux\n"


@pytest.mark.parametrize(
    ("programs", "mend"), [(["apt-get"], "sudo apt-get install python3-pip"), ([], "-m ensurepip")]
)
def test_without_pip_the_line_that_installs_it_is_printed(programs: list[str], mend: str, tmp_path: Path) -> None:
    shutil.copy(ROOT / "run", tmp_path)
    (tmp_path / "requirements.lock").write_text("# packages\n")
    (tmp_path / "requirements-dev.lock").write_text("# more packages\n")
    for program in programs:
        (tmp_path / program).symlink_to("/bin/true")
    command = [sys.executable, "-S", str(tmp_path / "run"), "demo"]  # -S hides site-packages, and so pip
    done = subprocess.run(command, env={"PATH": str(tmp_path)}, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert mend in done.stderr
    assert not (tmp_path / ".venv").exists()


PYTEST = ["-m", "pytest"]
EVERYWHERE = ["-n", str(2 + min(3, os.cpu_count() or 1))]
COVERAGE = ["--cov", "--cov-report=term:skip-covered"]


@pytest.mark.parametrize(
    ("words", "started", "prepared"),
    [
        ("", [*PYTEST, *EVERYWHERE, "-m", "not nightly"], []),
        ("--without-browser", [*PYTEST, "--without-browser", *EVERYWHERE, "-m", "not nightly"], ["--without-browser"]),
        ("--coverage", [*PYTEST, *COVERAGE, *EVERYWHERE, "-m", "not nightly"], []),
        ("fast -k a", [*PYTEST, *EVERYWHERE, "-m", "not (browser or faults or slow or nightly)", "-k", "a"], None),
        ("nightly --without-browser", [*PYTEST, "--without-browser", "-m", "nightly"], ["--without-browser"]),
        ("tests/js --coverage -x", [*PYTEST, *COVERAGE, "tests/js", "-x"], []),
    ],
)
def test_words_after_test_become_arguments_of_pytest(
    words: str, started: list[str], prepared: list[str] | None
) -> None:
    run = runpy.run_path(str(ROOT / "run"))
    calls: list[list[str]] = []
    run["pytest"].__globals__["call"] = lambda *command: calls.append([str(part) for part in command])
    assert run["pytest"](words.split()) == started
    assert calls == ([] if prepared is None else [[str(run["PYTHON"]), "-m", "tests.machine", *prepared]])


@pytest.mark.parametrize(("words", "possible"), [(["--without-browser"], True), ([], False)])
def test_playwright_is_not_started_where_no_browser_is_wanted_or_possible(
    monkeypatch: pytest.MonkeyPatch, words: list[str], possible: bool
) -> None:
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setattr(chromium, "possible", lambda: possible)  # False: a machine for which Playwright has no wheel
    monkeypatch.setattr(chromium, "lacking", lambda: pytest.fail("it imports and starts Playwright"))
    machine.main(*words)


NO_CHROMIUM = "browser tests: no Chromium"


@pytest.mark.parametrize(
    ("left_out", "ci", "asked", "possible", "fails"),
    [
        ([], "true", False, True, False),
        (["needs a C compiler"], "true", False, True, False),
        ([NO_CHROMIUM], "", False, True, True),
        ([NO_CHROMIUM], "", True, True, False),
        ([NO_CHROMIUM], "", False, False, False),
        ([NO_CHROMIUM], "true", False, False, True),
        (["no nginx. As root: apt-get install nginx-light"], "", False, True, False),
        (["no nginx. As root: apt-get install nginx-light"], "true", True, True, True),
    ],
)
def test_which_missing_things_fail_a_run(
    left_out: list[str], ci: str, asked: bool, possible: bool, fails: bool
) -> None:
    counts = dict.fromkeys(left_out, 1)
    assert bool(left_out_plugin.failure(counts, {"CI": ci}, asked=asked, possible=possible)) is fails


ONE_TEST = "tests/browser/test_browser.py::test_two_people_have_two_sessions"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "status"),
    [
        (["--without-browser"], 0),
        pytest.param([], 1, marks=pytest.mark.nightly),
        pytest.param(["-n", "1"], 1, marks=pytest.mark.nightly),
    ],
)
def test_without_a_browser_the_list_says_what_was_left_out(options: list[str], status: int) -> None:
    command = [sys.executable, "-m", "pytest", "-q", ONE_TEST, *options]
    environment = {**os.environ, "CHROMIUM": "/nowhere/chromium"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == status, done.stdout
    *_, listed = done.stdout.partition("LEFT OUT: 1 tests")
    assert "1  browser tests: " in listed
    assert ("apt-get install" in listed or "install-deps" in listed) is bool(status)
    assert ("or say --without-browser" in listed) is bool(status)


def test_a_program_that_does_not_start_is_told_from_one_that_does(tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.write_text("#!/bin/sh\necho 'error while loading shared libraries: libnss3.so' >&2\nexit 127\n")
    broken.chmod(0o755)
    assert chromium.refusal(broken) == "error while loading shared libraries: libnss3.so"
    assert "No such file" in chromium.refusal(tmp_path / "none")
    assert chromium.refusal(sys.executable) == ""


NEWEST = (
    "django==5.2.19 ; python_full_version < '3.12'\ndjango==6.1.3 ; python_full_version >= '3.12'\nstripe==16.1.0\n"
)


def test_outdated_tells_what_holds_a_release_back() -> None:
    outdated = script("outdated.py")
    locked = outdated["pins"]("django==5.2.19 \\\n    --hash=sha256:0\nstripe==15.6.2 \\\n")
    asked = {"stripe": Requirement("stripe~=15.6.2")}
    assert outdated["rows"](locked, outdated["pins"](NEWEST), asked) == [
        ("django", "5.2.19", "6.1.3", "only where python_full_version >= '3.12'"),
        ("stripe", "15.6.2", "16.1.0", "pyproject.toml has stripe~=15.6.2"),
    ]


def test_outdated_compares_each_vendored_library() -> None:
    vendored = script("outdated.py")["VENDORED"].findall(
        (ROOT / "payments/static/payments/vendor/VERSIONS").read_text()
    )
    assert {package for _title, _version, package in vendored} == {"@picocss/pico", "lucide-static"}


def test_phrases_are_found_as_whole_words_with_what_to_write_instead() -> None:
    check = script("check.py")
    text = ROOT / ".tools" / "text.md"
    text.write_text("Erstwhile state.\nHarken, hark; or else.\nIt is so.\n")
    try:
        found = list(check["advised_against"](text, {"erstwhile": "former", "hark": "listen", "is so.": "say how"}))
    finally:
        text.unlink()
    assert found == [
        '.tools/text.md:1: "Erstwhile"; better: former',
        '.tools/text.md:2: "hark"; better: listen',
        '.tools/text.md:3: "is so."; better: say how',
    ]


AUDITED = {"name": "django", "version": "5.2.1", "vulns": [{"id": "CVE-1", "fix_versions": ["5.2.2"]}]}
UNKNOWN = {"name": "tqdm", "skip_reason": "not found"}


def test_the_audit_reports_findings_and_packages_that_it_could_not_ask_about() -> None:
    check = script("check.py")
    report = json.dumps({"dependencies": [AUDITED, UNKNOWN, {"name": "babel", "version": "2", "vulns": []}]})
    assert check["found_by_audit"](report, "") == "django 5.2.1: CVE-1, mended in 5.2.2\nnot found"
    assert check["found_by_audit"]("", "Traceback\nKeyError: 'vulns'") == "Traceback\nKeyError: 'vulns'"


def test_the_audit_names_packages_below_their_floor_without_a_network() -> None:
    floors = "# why\ndjango>=5.2.19  # CVE-1\nTwisted>=24.7\nchannels>=4\n"
    lock = "django==5.2.18 \\\n    --hash=sha256:0\ntwisted==24.10 ; python_version > '3' \\\n"
    found = script("check.py")["below_floor"](lock, floors).splitlines()
    assert found == ["django 5.2.18: django>=5.2.19 is needed, CVE-1", "channels None: channels>=4 is needed, "]


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-dev.lock"])
def test_the_locks_pin_no_package_below_its_floor(lock: str) -> None:
    texts = ((ROOT / name).read_text() for name in (lock, ".ci/floors.txt"))
    assert script("check.py")["below_floor"](*texts) == ""


def test_outdated_ends_with_the_audit(monkeypatch: pytest.MonkeyPatch) -> None:
    """The test replaces the functions that need a network or run other programs."""
    outdated, calls = script("outdated.py")["main"], []

    def call(command: list[Any], **_options: Any) -> Any:
        calls.append(command)
        return SimpleNamespace(returncode=1)

    monkeypatch.setattr(subprocess, "run", call)
    outdated.__globals__.update({"newest": lambda *_: {}, "vendored": lambda _: []})
    assert outdated("uv") == 1
    assert calls == [[sys.executable, ROOT / ".ci" / "check.py", "audit"]]


@pytest.mark.parametrize(
    ("report", "errors"),
    [
        ("", "Traceback\nrequests.exceptions.ConnectionError: HTTPSConnectionPool(...)"),
        ("", "Traceback\nrequests.exceptions.ProxyError: unable"),
        (json.dumps({"dependencies": [UNKNOWN, UNKNOWN]}), ""),
    ],
)
def test_the_audit_is_skipped_only_without_a_network(report: str, errors: str) -> None:
    check = script("check.py")
    with pytest.raises(check["Skipped"], match="no network"):
        check["found_by_audit"](report, errors)
