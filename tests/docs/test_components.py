"""Tests that docs/components.md, the tags and the page /components/ agree."""

import re

import pytest

from payments.templatetags.clinic import register
from payments_site.demo.site import ROOT
from tests.test_authority import World

PAGE = (ROOT / "docs/components.md").read_text()


def test_the_tags_of_the_page_exist() -> None:
    named = set(re.findall(r"`\{% (\w+)[^`]*%\}`", PAGE)) - {"load"}
    assert len(named) > 4
    assert {name.removeprefix("end") for name in named} <= register.tags.keys()


@pytest.mark.django_db
@pytest.mark.parametrize("role", ["owner", "front desk"])
def test_the_page_of_components_shows_each(role: str, world: World) -> None:
    page = world.ask(role, "GET", "/components/").content.decode()
    components = re.findall(r"^\| (\w+) \| `\{%", PAGE, re.M)
    assert len(components) == 4
    for name in components:
        assert f"<code>{name}</code>" in page
    for element in ("<live-source", 'class="payment-status"', "<auto-refresh-appointments", "data-live-refresh"):
        assert element in page
