"""Tests that every icon that templates name is in the file of icons."""

import re
from xml.etree import ElementTree

from payments.domain.status import PaymentStatus
from tests.sources import STATIC, TEMPLATES

TEXT = "\n".join(path.read_text() for _, path in TEMPLATES)


def test_every_icon_that_a_page_shows_is_drawn_and_no_other() -> None:
    icons = ElementTree.parse(dict(STATIC)["payments/img/icons.svg"])  # noqa: S314 the file is ours
    drawn = [symbol.get("id") for symbol in icons.getroot()]
    named = re.findall(r'{% icon "([\w-]+)" %}|_error.html" with icon="([\w-]+)"', TEXT)
    wanted = {tag or error for tag, error in named} | {f"status-{status}" for status in PaymentStatus}
    assert len(drawn) == len(set(drawn))
    assert set(drawn) == wanted
