"""Tests that the documents agree with the code."""

import re
from pathlib import Path

import pytest
import stripe
from django.core.management import get_commands

from payments_site.demo.site import ROOT
from tests.test_deploy import DEPLOY

APPS = ("payments", "integrations")
DOCUMENTS = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("**/*.md")]
SERVERS = ("docs/server-small.md", "docs/server-large.md")
OPERATIONS = (ROOT / "docs/operations.md").read_text()


def test_the_api_version_is_the_sdks() -> None:
    assert re.findall(r"API version\s+`([^`]+)`", OPERATIONS) == [stripe.api_version]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\((?!https?://|#)([^)#\s]+)", document.read_text()):
        assert (document.parent / target).exists(), target


@pytest.mark.parametrize(
    "document", [*SERVERS, "docs/operations.md", "docs/security.md", "CONTRIBUTING.md", "SECURITY.md"]
)
def test_files_that_are_named_exist(document: str) -> None:
    text = (ROOT / document).read_text()
    for name in re.findall(r"(?<![\w/])(?:deploy|docs|payments|payments_site|tests|locale|\.ci)/[\w./@-]*\w", text):
        assert (ROOT / name).exists(), name


def test_every_command_of_ours_is_in_the_decision_table() -> None:
    table = OPERATIONS.split("## Which command when")[1].split("\n## ")[0]
    for name, app in get_commands().items():
        if app in APPS:
            assert f"`{name}" in table, name


def test_every_unit_is_named_in_the_installation() -> None:
    for unit in (DEPLOY / "systemd").iterdir():
        name = unit.name.removesuffix(".service").partition("@")[0]
        started_by_timer = unit.with_suffix(".timer").exists() and unit.suffix == ".service"
        assert started_by_timer or name in OPERATIONS, name
