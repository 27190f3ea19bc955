"""Tests that something takes and does what each block of code in the documents says.

The list of blocks is made from the pages, and the list of what is done from the modules of tests that call `take`.
"""

import importlib
import re
import subprocess
from pathlib import Path

import pytest

from payments_site.demo.site import ROOT
from tests.docs.page import TAKEN, read_blocks, take

WINGS, ROOMS = take("ARCHITECTURE.md", "The wings of `payments/`")
[FOLDERS] = take("CONTRIBUTING.md", "Where things are")

PAGES = sorted(
    str(path.relative_to(ROOT))
    for folder in (ROOT, ROOT / "docs", ROOT / "benchmarks")
    for path in folder.glob("*.md")
    if path.name not in ("RESULTS.md", "CHANGELOG.md")
)
NOWHERE = {  # page, section, and beginning of a block that no test can do; why, and what is checked instead
    (
        "docs/in-your-project.md",
        "8. Stripe",
        "stripe listen",
    ): "needs an account at Stripe; the sandbox stands in for it",
    ("ARCHITECTURE.md", "Architecture", "sequenceDiagram"): "a picture",
    ("ARCHITECTURE.md", "Floors", ""): "a picture of what tests/test_layers.py holds",
    ("ARCHITECTURE.md", "One webhook, straight through", ""): "a story; each of its steps has tests",
    ("ARCHITECTURE.md", "What is owed", ""): "formulas; tests/payments/domain computes all sums a second time",
    ("docs/index.md", "The handbook", ":hidden:"): "Sphinx's list of pages, which ./run check builds",
}


@pytest.fixture(scope="module")
def taken() -> None:
    """Import every module of tests that takes blocks."""
    for path in (ROOT / "tests").rglob("*.py"):
        if path != Path(__file__) and re.search(r"^[^\n]*\btake\(\"", path.read_text(), re.M):
            importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))


@pytest.mark.parametrize("page", PAGES)
def test_a_test_does_what_each_block_says(page: str, taken: None) -> None:
    for block in read_blocks((ROOT / page).read_text(), page):
        nowhere = any((page, block.section) == place[:2] and block.text.startswith(place[2]) for place in NOWHERE)
        assert (block in TAKEN) != nowhere, f"{page}, {block.section!r}: nothing runs this block\n{block.text}"


def entries(tree: str) -> dict[str, str]:
    """Return what a tree of folders says, by the names of its folders, which stand at the beginning of lines."""
    found: dict[str, str] = {}
    names: list[str] = []
    for line in tree.splitlines():
        if line[0] != " ":
            head = re.match(r"(?:[\w.]+/ ?)*", line)
            names = head[0].replace("/", "").split() if head else []
        for name in names:
            found[name] = f"{found.get(name, '')}{line}\n"
    return found


def test_the_list_of_folders_is_whole() -> None:
    listing = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    folders = {name.partition("/")[0] for name in listing.splitlines() if "/" in name}
    assert entries(FOLDERS.text).keys() == folders - {".github"}
    assert entries(ROOMS.text).keys() == folders - {".github", ".ci", "locale"} - entries(WINGS.text).keys() - {
        "payments"
    }


def test_every_module_of_a_wing_is_in_the_picture_of_it() -> None:
    told = entries(WINGS.text)
    for wing in ("domain", "gateway", "live", "desk", "dashboard", "emails", "db"):
        modules = {path.stem for path in (ROOT / "payments" / wing).iterdir() if path.stem[0] not in "_."}
        assert {name for name in modules if not re.search(rf"\b{name}\b", told[wing])} == set(), wing
    for wing in ("domain", "gateway", "live"):  # whose modules have lines of their own
        for line in re.findall(r"^  ([\w, ]+?)  ", told[wing], re.M):
            for name in line.split(", "):
                assert list((ROOT / "payments" / wing).glob(f"{name}*")), name
