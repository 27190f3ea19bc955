"""Tests that every icon that templates name is in the file of icons."""

import re
from pathlib import Path
from xml.etree import ElementTree

from payments.domain.status import PaymentStatus

ROOT = Path(__file__).parents[1]
TEMPLATES = "\n".join(path.read_text() for path in (ROOT / "templates").rglob("*.html"))


def test_every_icon_that_a_page_shows_is_drawn_and_no_other() -> None:
    drawn = [symbol.get("id") for symbol in ElementTree.parse(ROOT / "static/img/icons.svg").getroot()]  # noqa: S314 ours
    named = re.findall(r'{% icon "([\w-]+)" %}|_error.html" with icon="([\w-]+)"', TEMPLATES)
    wanted = {tag or error for tag, error in named} | {f"status-{status}" for status in PaymentStatus}
    assert len(drawn) == len(set(drawn))
    assert set(drawn) == wanted
