"""Tests that the programs accept the commands that stand in the documents, in blocks and in sentences.

Nothing is started: each program's own parser reads the words. Other tests run `./run demo` (test_demo.py), the commands
of operators (test_secrets_page.py, test_install.py) and faults (test_chaos.py); CI runs `./run check` and `./run test`.
"""

import importlib
import importlib.util
import os
import re
import runpy
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import pytest
import yaml
from django.core.management import CommandError, get_commands, load_command_class
from django.core.management.base import CommandParser

from payments_site.demo.site import ROOT
from tests.docs.page import code_in_text, read_blocks, take
from tests.docs.test_blocks import PAGES

OUR_APPS = ("payments", "integrations")
MANAGE = re.compile(
    r"(?:DEBUG=1 )?(?:\./run manage|manage|(?:python )?manage\.py"
    r"|runuser -u payments -- /opt/payments/deploy/manage\.sh|\./run demo manage) (?!\.\.\.)(.+)"
)
FRENCH = [f"docs/fr/{page.removeprefix('docs/')}" for page in PAGES if page.startswith("docs/")]
COMPOSE = yaml.safe_load((ROOT / "deploy/compose.yaml").read_text())["services"]
RUN = [
    *take("README.md"), *take("CONTRIBUTING.md", "Contributing"), *take("benchmarks/README.md"), *take("docs/demo.md")
]  # fmt: skip


def typed(page: str) -> tuple[str, ...]:
    """Return each line of the page's blocks of commands, and each piece of code in its sentences."""
    return in_blocks(page) + in_sentences(page)


@cache
def in_blocks(page: str) -> tuple[str, ...]:
    blocks = [block for block in read_blocks((ROOT / page).read_text()) if block.language in ("", "sh")]
    return tuple(line for block in blocks for line in block.text.replace("\\\n", " ").splitlines())


@cache
def in_sentences(page: str) -> tuple[str, ...]:
    return tuple(code_in_text((ROOT / page).read_text()))


def everywhere() -> Iterator[tuple[str, str]]:
    """Yield each page with each of its commands."""
    yield from ((page, text) for page in (*PAGES, *FRENCH) for text in typed(page))


def words(command: str) -> list[str]:
    """Return a command's words. "..." stands for a time behind an option, and else for what the reader chooses."""
    found = shlex.split(re.split(r" [<|&]", command)[0], comments=True)
    return [
        "2026-05-28" if word == "..." else word
        for before, word in zip(["", *found], found, strict=False)
        if word != "..." or before.startswith("--")
    ]


# manage.py


def managed(text: str, *, ours: bool) -> list[str]:
    """Return the words of a command of manage.py, or nothing; with `ours`, one of our apps may lack `manage`."""
    if found := MANAGE.fullmatch(text.partition("  #")[0].strip()):
        return words(found[1])
    return words(text) if ours and " " in text and get_commands().get(text.split()[0]) in OUR_APPS else []


@cache
def parser_of(name: str) -> CommandParser:
    """Return a command's own parser, which raises CommandError for arguments that it refuses."""
    parser = load_command_class(str(get_commands()[name]), name).create_parser("manage.py", name)
    parser.called_from_command_line = False
    return parser


def test_manage_accepts_its_commands() -> None:
    for page, text in everywhere():
        if found := managed(text, ours=text in in_sentences(page)):
            name, *arguments = found
            try:
                parser_of(name).parse_args(arguments)
            except CommandError as error:
                pytest.fail(f"{page}: {text}: {error}")


@pytest.mark.parametrize("page", ["docs/commands.md", "docs/fr/commands.md"])
def test_every_command_of_ours_is_listed_with_options_that_it_has(page: str) -> None:
    rows = re.findall(r"^\| `(\w+)` \| (.+) \|$", (ROOT / page).read_text(), re.M)
    assert sorted(name for name, _ in rows) == sorted(name for name, app in get_commands().items() if app in OUR_APPS)
    for name, purpose in rows:
        known: Any = parser_of(name)
        assert set(re.findall(r"`(--[\w-]+)`", purpose)) <= set(known._option_string_actions), name


# ./run


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Return a function that returns what Python would be started with by `./run` and these words.

    The test replaces what installs packages and starts Python.
    """
    calls: list[list[str]] = []
    monkeypatch.setattr(os, "execv", lambda program, arguments: calls.append(arguments[1:]))
    monkeypatch.setattr(os, "chdir", lambda folder: None)
    run = runpy.run_path(str(ROOT / "run"))
    run["main"].__globals__.update(
        install=lambda lock: None, call=lambda *command: None, uv=lambda: "uv",
        compile_locks=lambda arguments: calls.append(["lock", *arguments]),
    )  # fmt: skip

    def start(*arguments: str) -> list[str]:
        run["main"](*arguments)
        return calls.pop()

    return start


def read_by_program(program: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the program that ./run starts read its arguments. SystemExit or an error says that it refuses them."""
    match program:
        case ["-m", "pytest", *arguments]:
            for argument in arguments:
                assert not argument.startswith("tests/") or (ROOT / argument).exists(), argument
        case ["-m", module, *arguments]:
            main = module if module in ("tests.faults.soak", "tests.pictures") else f"{module}.__main__"
            monkeypatch.setattr(sys, "argv", [module, *arguments])
            parser = getattr(importlib.import_module(main), "parse", None)
            assert parser or not arguments
            if parser:
                parser()
        case [".ci/check.py", *names]:
            assert set(names) <= set(runpy.run_path(str(ROOT / ".ci/check.py"))["CHECKS"])
        case ["manage.py", name, *arguments]:
            parser_of(name).parse_args(arguments)
        case [script, *_]:
            assert script == "lock" or (ROOT / script).exists()


def test_run_accepts_its_commands(started: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    for page, text in everywhere():
        found = re.fullmatch(r"(?:/usr/bin/python3 |DEBUG=1 )?\./run (.+)", re.split("  +", text)[0].split(" #")[0])
        if found and found[1] != "manage ...":
            arguments = ["2" if word == "N" else word for word in words(found[1])]
            program = started(*arguments)
            try:
                read_by_program(program, monkeypatch)
            except (SystemExit, CommandError) as error:
                pytest.fail(f"{page}: {text}: {error}")


def test_blocks_that_are_only_read_hold_nothing_but_run() -> None:
    for block in RUN:
        assert all(line.startswith("./run ") for line in block.text.splitlines()), block.text


def test_modules_that_python_runs_exist() -> None:
    for page, text in everywhere():
        for module in re.findall(r"^python -m ([\w.]+)", text):
            assert importlib.util.find_spec(module), f"{page}: {text}"


# deploy/, systemd and Docker


def test_the_scripts_know_their_options() -> None:
    for page, text in everywhere():
        for script, rest in re.findall(r"(?:^| )(deploy/(?:install|upgrade|restore)\.sh)([^#]*)", text):
            assert set(re.findall(r"--[\w-]+", rest)) <= options_of(script), f"{page}: {text}"


@cache
def options_of(script: str) -> set[str]:
    usage = subprocess.run([ROOT / script, "--help"], capture_output=True, text=True, check=True).stdout
    return set(re.findall(r"--[\w-]+", usage))


def test_units_that_are_named_exist() -> None:
    units = {path.name for path in (ROOT / "deploy/systemd").iterdir()}
    for page, text in everywhere():
        if re.match("systemctl|journalctl", text):
            for name in re.findall(r"payments-[\w@*.-]+", text.partition("&&")[0]):
                unit, pattern = re.sub(r"@\d+", "@", name), name.endswith("*")
                wanted = unit.rstrip("*") if pattern else unit if "." in unit else f"{unit}.service"
                assert any(each.startswith(wanted) if pattern else each == wanted for each in units), f"{page}: {text}"


@pytest.mark.parametrize("page", ["docs/operations.md", "docs/fr/operations.md"])
def test_services_that_docker_is_told_of_exist(page: str) -> None:
    """Docker itself is needed to do more."""
    told = [
        service
        for text in typed(page)
        for service in re.findall(r"(?:^|env )(?:exec|run --rm|up -d --no-deps --wait) ([\w-]+)", text)
    ]
    assert len(told) > 5
    assert set(told) <= COMPOSE.keys()
